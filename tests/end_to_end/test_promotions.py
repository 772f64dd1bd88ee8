"""Requests for promotion between people, by the command, and many hands at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import steelyard
from steelyard_contracts.errors import ConflictError, SteelyardError

pytestmark = [pytest.mark.end_to_end]


def join(running, name, role):
    """A person with a role in the team `lab`, who is nothing else; their token."""
    running.manage("shell", "-c", SCRIPT.format(name=name, role=role))
    token = running.manage("issue_token", "--scope", "write", "--name", "test", "--user", name)
    return token.strip().splitlines()[-1]


SCRIPT = """
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import OPERATOR, Role
from steelyard_platform.accounts.services import create_user, set_role
if not User.objects.filter(username="{name}").exists():
    create_user(username="{name}", password=None, actor=OPERATOR)
set_role(team=Team.objects.get(name="lab"), username="{name}", role=Role("{role}"), actor=OPERATOR)
"""


def test_from_asking_to_the_name_by_commands(hub, installation, tmp_path):
    (tmp_path / "w.txt").write_text("weights")
    hub.push(tmp_path / "w.txt", "lab/asked")
    hub.add_gate("lab/asked", "approved by 1 maintainer", applies_to="production")
    tokens = {name: join(installation, name, role) for name, role in [("bea", "contributor"), ("cy", "maintainer")]}

    def run(who, *arguments, check=True):
        done = installation.run(
            "steelyard", *arguments, check=check, environment={"STEELYARD_TOKEN": tokens[who], "COLUMNS": "400"}
        )
        return done.stdout + done.stderr

    said = run("bea", "promote", "--request", "lab/asked@v1", "production", "--reason", "better at night")
    assert "Promotion 1: v1 as production waits for a maintainer." in said
    refused = run("bea", "promote", "lab/asked@v1", "production", check=False)
    assert "refuses approved by 1 maintainer: no maintainer has approved it; 1 approval is asked" in refused
    assert "may not manage" in run("bea", "approve", "lab/asked", "1", check=False)
    assert "asks for v1 by now, not for" not in run("cy", "approve", "lab/asked@v1", "1", "-m", "looked at it")
    shown = run("cy", "promotions", "show", "lab/asked", "1")
    assert "cy approved v1 as production in place of nothing looked at it" in shown
    assert "passes approved by 1 maintainer: approved by cy; 1 approval is asked" in shown
    assert "production is now v1." in run("bea", "promotions", "carry-out", "lab/asked", "1")
    assert "better at night" in run("bea", "alias", "history", "lab/asked")
    run("bea", "promote", "--request", "lab/asked@v1", "staging")
    assert "Promotion 2 is rejected." in run("cy", "reject", "lab/asked", "2", "--comment", "no")
    override = ["promote", "lab/asked@v1", "production", "--override"]
    run("bea", "alias", "delete", "lab/asked", "production")
    assert "may not manage" in run("bea", *override, "--reason", "hurry", check=False)
    assert "Gates are overridden with a reason" in run("cy", *override, check=False)
    run("cy", *override, "--reason", "nobody else is here")
    assert "overrode: no maintainer has approved" in " ".join(run("cy", "alias", "history", "lab/asked").split())


def test_many_hands_at_once_count_once_and_move_once(racing, tmp_path):
    """Two approvers count both, nobody counts twice, and the name moves one time."""
    tokens = {name: join(racing, name, "maintainer") for name in ("bea", "cy", "dee")}
    (tmp_path / "w.txt").write_text("weights")
    with steelyard.connect(racing.url, tokens["dee"], quiet=True) as author:
        author.push(tmp_path / "w.txt", "lab/raced")
        author.add_gate("lab/raced", "approved by 2 maintainers")
        author.request_promotion("lab/raced@v1", "production")

    def act(name, verb):
        with steelyard.connect(racing.url, tokens[name], quiet=True) as hub:
            try:
                getattr(hub, verb)("lab/raced", 1)
            except SteelyardError as error:
                return error
            return None

    with ThreadPoolExecutor(8) as pool:
        approvals = list(pool.map(act, ["bea", "cy"] * 4, ["approve"] * 8))
        assert approvals.count(None) == 2
        assert all(isinstance(error, ConflictError) for error in approvals if error)
        carried = list(pool.map(act, ["bea", "cy", "dee", "dee"] * 2, ["carry_out"] * 8))
    assert carried.count(None) == 1
    assert all(isinstance(error, ConflictError) for error in carried if error)
    with steelyard.connect(racing.url, tokens["dee"], quiet=True) as hub:
        assert len(list(hub.alias_history("lab/raced"))) == 1
        done = hub.promotion("lab/raced", 1)
    assert done.state == "carried_out"
    assert [event.step for event in done.events] == ["approval", "approval", "carried_out"]
