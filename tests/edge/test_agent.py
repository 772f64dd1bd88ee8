"""The agent: it runs a complete release at every moment, and says only what it saw."""

from __future__ import annotations

import sys
import threading
from uuid import uuid4

import pytest
from PIL import Image

from steelyard_contracts.errors import AuthenticationError, InvalidInputError, SteelyardError, UnavailableError
from steelyard_contracts.fleet import InstallState
from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE
from steelyard_edge.identity import load_identity, make_identity
from steelyard_edge.journal import Journal, Phase, Recovery
from steelyard_edge.model import Classifier, picture_paths

HEALTHY = f"{sys.executable} -c pass"
SICK = f"{sys.executable} -c \"import sys; sys.exit('too hot')\""


def states(platform):
    return [report.state for report in platform.reports]


def test_a_release_is_fetched_checked_and_run(agent_in, platform):
    digest = platform.offer_release()
    agent = agent_in(HEALTHY)
    agent.step()
    assert agent.releases.running == digest
    assert states(platform) == [InstallState.INSTALLING, InstallState.HEALTHY]
    assert platform.reports[-1].detail == "2 of 2 known answers"
    assert (agent.folder / "current" / MODEL_FILE).read_bytes() == platform.files[MODEL_FILE]


def test_a_failed_health_check_goes_back_and_says_so(agent_in, platform):
    good = platform.offer_release()
    agent_in().step()
    platform.offer_release(version="v2", weight=2.0)
    agent = agent_in(SICK)
    agent.step()
    assert agent.releases.running == good
    assert platform.reports[-1].state is InstallState.ROLLED_BACK
    assert f"The health check failed: too hot. Back to {good[:12]}." in platform.reports[-1].detail


def test_a_first_release_that_fails_leaves_the_device_running_nothing(agent_in, platform):
    platform.offer_release()
    agent = agent_in(SICK)
    agent.step()
    assert agent.releases.running is None
    assert states(platform)[-1] is InstallState.ROLLED_BACK


def test_a_model_that_gives_wrong_answers_never_runs(agent_in, platform):
    good = platform.offer_release()
    agent_in().step()
    platform.offer_release(version="v2", weight=-1.0)
    agent = agent_in()
    agent.step()
    assert agent.releases.running == good
    assert platform.reports[-1].state is InstallState.FAILED
    assert "0 of 2 known answers came out as expected" in platform.reports[-1].detail


def test_a_truncated_download_goes_on_where_it_stopped(agent_in, platform):
    digest = platform.offer_release(**{"large.bin": bytes(1000)})
    platform.cut = 600
    agent = agent_in()
    agent.step()
    assert agent.releases.running is None
    platform.cut = None
    agent_in().step()
    assert agent.releases.running == digest
    assert ("large.bin", 600) in platform.requested


def test_a_truncated_download_says_so(agent_in, platform):
    platform.offer_release()
    platform.cut = 10
    agent = agent_in()
    assert platform.offer is not None
    with pytest.raises(UnavailableError, match="broke off after 10 of"):
        agent.install(platform.offer)


def test_wrong_bytes_are_dropped_and_reported(agent_in, platform):
    platform.offer_release()
    platform.files[MODEL_FILE] = b"x" * len(platform.files[MODEL_FILE])
    agent = agent_in()
    agent.step()
    assert agent.releases.running is None
    assert platform.reports[-1].state is InstallState.FAILED
    assert "does not have the digest its manifest names; it was dropped" in platform.reports[-1].detail


def test_more_bytes_than_announced_are_not_written(agent_in, platform):
    platform.offer_release()
    platform.files[KNOWN_ANSWERS_FILE] += b" " * 1000
    agent = agent_in()
    agent.step()
    assert "longer than its manifest says" in platform.reports[-1].detail


def test_another_platforms_signature_is_not_trusted(agent_in, platform):
    digest = platform.offer_release()
    stranger = type(platform)()
    stranger.offer_release()
    platform.offer = stranger.offer
    agent = agent_in()
    agent.step()
    assert agent.releases.running is None
    assert "The release's signature is not valid; it was not touched." in platform.reports[-1].detail
    assert not agent.releases.path(digest).exists()
    assert platform.requested == []


def test_a_tampered_manifest_is_not_trusted(agent_in, platform):
    import base64

    platform.offer_release()
    payload = platform.offer.manifest.payload_bytes().replace(b"lab/reader", b"lab/backdo")
    platform.offer.manifest.payload = base64.b64encode(payload).decode()
    agent_in().step()
    assert platform.reports[-1].state is InstallState.FAILED


def test_a_power_cut_after_the_switch_is_checked_at_the_restart(agent_in, platform):
    good = platform.offer_release()
    agent_in().step()
    bad = platform.offer_release(version="v2", weight=2.0)
    agent = agent_in(SICK)
    agent._confirm = lambda journal: None  # the power goes before anybody saw it work
    agent.step()
    assert agent.releases.running == bad
    restarted = agent_in(SICK)
    restarted.recover()
    assert restarted.releases.running == good
    assert states(platform)[-1] is InstallState.ROLLED_BACK


def test_a_power_cut_between_journal_and_switch_ends_with_the_new_release(agent_in, platform):
    platform.offer_release()
    agent_in().step()
    new = platform.offer_release(version="v2", weight=2.0)
    agent = agent_in()
    agent.releases.switch = lambda digest: None
    agent._confirm = lambda journal: None
    agent.step()
    restarted = agent_in()
    restarted.recover()
    assert restarted.releases.running == new
    assert states(platform)[-1] is InstallState.HEALTHY


def test_a_report_that_could_not_be_delivered_is_delivered_later(agent_in, platform):
    platform.offer_release()
    agent = agent_in()
    original = agent._confirm

    def confirm(journal):
        platform.is_down = True
        original(journal)

    agent._confirm = confirm
    agent.step()
    assert states(platform) == [InstallState.INSTALLING]
    platform.is_down = False
    agent_in().step()
    assert states(platform) == [InstallState.INSTALLING, InstallState.HEALTHY]


def test_a_revoked_key_is_explained_and_the_device_runs_on(agent_in, platform):
    digest = platform.offer_release()
    agent = agent_in()
    agent.step()

    def refuse(*_args, **_kwargs):
        raise AuthenticationError("Invalid credentials in Authorization header")

    platform.post = refuse
    with pytest.raises(AuthenticationError, match="refuses this device's key: it was revoked. What the device runs"):
        agent.step()
    assert agent.releases.running == digest


@pytest.mark.parametrize("damage", [{KNOWN_ANSWERS_FILE: b"{}"}, {"config.json": b"[]"}, {MODEL_FILE: b"no model"}])
def test_a_release_that_cannot_be_run_is_reported_and_never_switched_to(agent_in, platform, damage):
    platform.offer_release(**damage)
    agent = agent_in()
    agent.step()
    assert agent.releases.running is None
    assert platform.reports[-1].state is InstallState.FAILED


def test_a_release_damaged_on_disk_is_fetched_again(agent_in, platform):
    digest = platform.offer_release()
    agent = agent_in()
    agent.step()
    (agent.releases.path(digest) / MODEL_FILE).write_bytes(b"bit rot")
    platform.offer.release = uuid4()
    agent.step()
    assert (agent.releases.path(digest) / MODEL_FILE).read_bytes() == platform.files[MODEL_FILE]
    assert platform.reports[-1].state is InstallState.HEALTHY


def test_notes_that_cannot_be_read_do_not_stop_the_device(agent_in, platform):
    digest = platform.offer_release()
    agent = agent_in()
    agent.step()
    (agent.folder / "journal.json").write_bytes(b"")
    restarted = agent_in()
    restarted.recover()
    restarted.step()
    assert restarted.releases.running == digest


def test_an_error_that_may_pass_is_waited_out(agent_in, platform, monkeypatch):
    stop, tries = threading.Event(), []

    def answer(*_args, **_kwargs):
        tries.append(1)
        if len(tries) == 3:
            stop.set()
        raise SteelyardError("http://hub.test answered 500.")

    platform.post = answer
    monkeypatch.setattr("steelyard_edge.agent._RETRY_SECONDS", 0.01)
    agent_in().run(stop)
    assert len(tries) == 3


def test_old_releases_are_dropped_except_the_one_to_go_back_to(agent_in, platform):
    digests = []
    for number in (1, 2, 3):
        digests.append(platform.offer_release(version=f"v{number}", weight=float(number)))
        agent_in().step()
    agent = agent_in()
    assert {path.name for path in agent.releases.folder.iterdir()} == set(digests[1:])


@pytest.mark.parametrize(
    ("phase", "is_reported", "recovery"),
    [
        (Phase.FETCHING, False, Recovery.NOTHING),
        (Phase.SWITCHED, False, Recovery.CHECK),
        (Phase.HEALTHY, False, Recovery.REPORT),
        (Phase.HEALTHY, True, Recovery.NOTHING),
        (Phase.ROLLED_BACK, False, Recovery.REPORT),
        (Phase.FAILED, True, Recovery.NOTHING),
    ],
)
def test_what_a_restart_does(phase, is_reported, recovery):
    journal = Journal(release=uuid4(), digest="d", previous=None, phase=phase, is_reported=is_reported)
    assert journal.recovery is recovery


def test_a_device_classifies_with_what_it_runs(agent_in, platform, tmp_path):
    platform.offer_release()
    agent = agent_in()
    agent.step()
    for value, name in ((0, "black"), (255, "white")):
        Image.new("L", (5, 5), value).save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = list(Classifier(agent.releases.current).classify(picture_paths([tmp_path])))
    assert [one.label for one in found] == ["dark", "bright"]
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="is no picture that can be read"):
        list(Classifier(agent.releases.current).classify([tmp_path / "bad.png"]))


def test_an_identity_keeps_its_key_and_its_folder(tmp_path):
    made = make_identity(tmp_path / "d", url="http://a.test", name="gate-1")
    assert make_identity(tmp_path / "d", url="http://b.test", name="gate-1").key == made.key
    assert (tmp_path / "d" / "device.json").stat().st_mode & 0o077 == 0
    with pytest.raises(InvalidInputError, match="belongs to the device gate-1"):
        make_identity(tmp_path / "d", url="http://a.test", name="gate-2")
    with pytest.raises(InvalidInputError, match="Run `steelyard-edge enrol` first"):
        load_identity(tmp_path / "nothing")


def test_the_edge_needs_neither_torch_nor_django():
    import subprocess

    heavy = "{'torch', 'django', 'huggingface_hub'}"
    script = f"import sys, steelyard_edge.agent, steelyard_edge.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
