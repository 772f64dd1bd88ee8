"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

import click

from steelyard.cli import main


def commands_below(group, path=()):
    for name, one in group.commands.items():
        yield (*path, name), one
        if isinstance(one, click.Group):
            yield from commands_below(one, (*path, name))


def test_every_command_says_what_it_is_for():
    assert [" ".join(path) for path, one in commands_below(main) if not one.help] == []


def test_what_may_be_chosen_is_written_as_everywhere_else():
    """click writes the members of an enumeration by their names in Python, which nobody else knows."""
    choices = [
        (" ".join(path), option.name, choice)
        for path, one in commands_below(main)
        for option in one.params
        if isinstance(option.type, click.Choice)
        for choice in option.type.choices
    ]
    assert [found for found in choices if type(found[2]) is not str] == []


def test_whoever_has_read_enough_hears_no_complaint():
    script = "import click, sys\nfrom steelyard.cli import main\n\n"
    script += "@main.command()\ndef lines():\n    for number in range(100_000):\n        click.echo(number)\n\n"
    script += "main(['lines'])"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$1" | head -1', "bash", script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
