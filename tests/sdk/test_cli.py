"""The command line as a whole."""

from __future__ import annotations

import click

from steelyard.cli import main


def commands_below(group, path=()):
    for name, one in group.commands.items():
        yield (*path, name), one
        if isinstance(one, click.Group):
            yield from commands_below(one, (*path, name))


def test_every_command_says_what_it_is_for():
    assert [" ".join(path) for path, one in commands_below(main) if not one.help] == []
