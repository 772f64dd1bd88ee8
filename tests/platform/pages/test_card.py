"""The card's page and its editor: what is said, what is measured, and who may change it."""

from __future__ import annotations

import html

import pytest

from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import AuditRow, Membership
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.repos.card import MAX_CARD_BYTES, card_text, refresh_card
from steelyard_platform.weights.services import record_evaluation
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset

pytestmark = pytest.mark.django_db

CARD = """---
license: other
license_name: our-own
library_name: transformers
pipeline_tag: image-classification
language: [en, de]
base_model: {team}/parent
base_model_relation: finetune
datasets: [{team}/digits, elsewhere/secret]
tags: [vision, "<b>bold</b>"]
model-index:
- name: reader
  results:
  - task: {{type: image-classification}}
    dataset: {{type: mnist, name: MNIST}}
    metrics: [{{type: accuracy, value: 0.5}}, {{type: "<i>f1</i>", value: "<script>alert(1)</script>"}}]
---
# Reader
![plot](plot.png) [files](docs/more.md)
"""


@pytest.fixture
def reader(team, owner):
    repository = make_repository(team, owner, "reader")
    files = {"README.md": CARD.format(team=team).encode(), "model.safetensors": b"w", "config.json": b"{}"}
    refresh_card(repository, commit_files(repository, owner, files))
    return repository


@pytest.fixture
def signed_in(client, owner):
    client.force_login(owner)
    return client


def text(client, address):
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def save(client, repository, card, **more):
    return client.post(f"{repository.page}/edit", {"text": card, "title": "", "seen": "1", **more})


def test_metadata_shows_as_chips_that_lead_to_others_that_say_the_same(signed_in, reader, team, owner):
    make_repository(team, owner, "parent")
    shown = text(signed_in, reader.page)
    for address in (
        "/models?task=image-classification",
        "/models?library=transformers",
        "/models?license=other",
        "/models?language=de",
        "/models?tag=vision",
        f"/{team}/parent",
    ):
        assert f'href="{address}"' in shown
    assert "<span>finetune</span>" in shown
    assert "our-own" in shown
    assert f"/datasets/{team}/digits" not in shown  # nobody has made it


def test_a_repository_that_the_reader_may_not_see_looks_like_one_that_is_not_here(client, team, owner):
    hidden = make_repository(team, owner, "hidden")
    model = make_repository(team, owner, "shown", public=True)
    card = f"---\nbase_model: [{team}/hidden, {team}/never]\n---\n# x"
    refresh_card(model, commit_files(model, owner, {"README.md": card.encode()}))
    client.force_login(make_user())
    shown = text(client, model.page)
    assert f"{team}/hidden" in shown
    assert f'href="{hidden.page}"' not in shown
    client.force_login(owner)
    assert f'href="{hidden.page}"' in text(client, model.page)


def test_pictures_and_links_lead_into_the_version(signed_in, reader):
    shown = text(signed_in, reader.page)
    assert f'src="{reader.page}/resolve/v1/plot.png"' in shown
    assert f'href="{reader.page}/resolve/v1/docs/more.md"' in shown


def test_nothing_in_the_metadata_acts(signed_in, reader):
    shown = text(signed_in, reader.page)
    assert "<b>bold</b>" not in shown
    assert "<i>f1</i>" not in shown
    assert "<script>alert" not in shown
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown


def test_what_was_measured_stands_apart_from_what_the_card_says(signed_in, reader, team, owner):
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    report = EvaluationReport(
        model="x/y", dataset="x/z", split="validation", runtime="onnxruntime-cpu", metrics={"accuracy": 0.9125}
    )
    version = reader.versions.get()
    record_evaluation(version=version, dataset=picture_dataset(dataset, owner), report=report, job=None)
    shown = text(signed_in, reader.page)
    assert "0.9125" in shown
    assert "measured" in shown
    assert f"{team}/digits@v1" in shown
    assert "the card says so" in shown
    stranger = make_user()
    Membership.objects.filter(team=team, user=stranger).delete()
    type(reader).objects.filter(pk=reader.pk).update(is_public=True)
    signed_in.force_login(stranger)
    shown = text(signed_in, reader.page)
    assert "0.9125" not in shown
    assert "the card says so" in shown


def test_snippets_name_this_installation_and_fit_what_is_there(signed_in, reader, team, owner):
    shown = text(signed_in, reader.page).replace("&quot;", '"')
    assert f'snapshot_download("{reader}", revision="v1", endpoint="http://testserver")' in shown
    assert f'hub.pull("{reader}@v1")' in shown
    assert "AutoModelForImageClassification.from_pretrained" in shown
    assert "load_file" in shown
    assert "InferenceSession" not in shown
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    picture_dataset(dataset, owner)
    shown = text(signed_in, dataset.page).replace("&quot;", '"')
    assert f'snapshot_download("{dataset}", revision="v1", repo_type="dataset"' in shown
    assert f"steelyard pull datasets:/{dataset}@v1 ./digits" in shown
    assert "from_pretrained" not in shown


def test_the_page_asks_the_database_as_often_for_much_as_for_little(
    signed_in, reader, team, owner, django_assert_max_num_queries
):
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    for wanted in (3, 30):
        for number in range(reader.versions.count(), wanted):
            version = commit_files(reader, owner, {f"f{number}": str(number).encode()})
            data = picture_dataset(dataset, owner, labels="ab" + "c" * number)
            report = EvaluationReport(model="x/y", dataset="x/z", split="s", runtime="torch", metrics={"a": number})
            record_evaluation(version=version, dataset=data, report=report, job=None)
        for address in (reader.page, f"{reader.page}/versions", f"{reader.page}/versions/v{wanted}"):
            with django_assert_max_num_queries(32):
                text(signed_in, address)


def test_an_edit_is_a_version_that_is_audited_and_found(signed_in, reader, owner):
    assert "Edit card" in text(signed_in, reader.page)
    shown = text(signed_in, f"{reader.page}/edit")
    assert "license: other" in shown
    assert 'name="seen" value="1"' in shown
    card = "---\r\nlicense: mit\r\n---\r\n# Readers\r\nknow zebras\r\n"
    answer = save(signed_in, reader, card, title="Say more")
    assert (answer.status_code, answer.headers["Location"]) == (302, reader.page)
    version = reader.versions.get(number=2)
    assert (version.title, version.author) == ("Say more", owner)
    assert card_text(version) == card.replace("\r\n", "\n")
    assert AuditRow.objects.filter(action="commit", target=str(reader)).latest("pk").detail["version"] == "v2"
    assert "know zebras" in text(signed_in, reader.page)
    assert str(reader) in text(signed_in, "/models?q=zebra&license=mit")


def test_the_first_card_can_be_written_here(signed_in, team, owner):
    empty = make_repository(team, owner, "empty")
    assert "Write a card" in text(signed_in, empty.page)
    assert "# empty" in text(signed_in, f"{empty.page}/edit")
    assert save(signed_in, empty, "# Hello", seen="0").status_code == 302
    assert "Hello" in text(signed_in, empty.page)


def test_saving_the_same_text_makes_no_version(signed_in, reader):
    assert save(signed_in, reader, card_text(reader.versions.get())).status_code == 302
    assert reader.versions.count() == 1


def test_a_card_that_somebody_else_changed_meanwhile_is_not_overwritten(signed_in, reader, owner):
    commit_files(reader, owner, {"README.md": b"# Theirs"})
    answer = save(signed_in, reader, "# Mine")
    shown = answer.content.decode()
    assert answer.status_code == 412
    assert "Another commit has changed &#x27;README.md&#x27; meanwhile" in shown
    assert "# Mine" in shown
    assert "# Theirs" in shown
    assert reader.versions.count() == 2
    assert 'name="seen" value="2"' in shown  # who has seen it may save again
    assert save(signed_in, reader, "# Both", seen="2").status_code == 302


def test_another_file_that_changed_meanwhile_is_no_conflict(signed_in, reader, owner):
    commit_files(reader, owner, {"weights.bin": b"2"})
    assert save(signed_in, reader, "# Mine").status_code == 302


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\nlicense: [\n---\n# x", "is not valid YAML"),
        ("---\n- a\n---\n# x", "must be a YAML mapping"),
        ("---\nlicense: my-own\n---\n# x", "must be one of the identifiers that the Hub knows"),
        ("---\nmodel-index: x\n---\n# x", "must be a list"),
        ("---\na: &a [1]\nb: *a\n---\n", "aliases (*name) are not allowed"),
        ("x" * (MAX_CARD_BYTES + 1), "bytes; at most"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused_and_nothing_is_lost(signed_in, reader, card, said):
    answer = save(signed_in, reader, card)
    shown = answer.content.decode()
    assert answer.status_code in {400, 413}
    assert said in shown.replace("&quot;", '"')
    assert card[:40] in html.unescape(shown)
    assert reader.versions.count() == 1
    preview = signed_in.post(f"{reader.page}/edit/preview", {"text": card}).content.decode()
    assert said in preview


def test_the_preview_shows_what_would_show_and_acts_as_little(signed_in, reader):
    card = "---\nlicense: mit\n---\n# Hi <script>alert(1)</script> ![p](plot.png)"
    shown = signed_in.post(f"{reader.page}/edit/preview", {"text": card}).content.decode()
    assert "<script" not in shown
    assert "resolve/v1/plot.png" in shown
    assert "license: mit" not in shown
    assert "notice" not in shown


def test_only_those_who_may_write_edit(client, reader, team):
    looking, stranger = make_user(), make_user()
    Membership.objects.create(team=team, user=looking, role=Role.READER)
    addresses = (f"{reader.page}/edit", f"{reader.page}/edit/preview")
    for user, status in ((looking, 403), (stranger, 404)):
        client.force_login(user)
        assert client.get(addresses[0]).status_code == status
        for address in addresses:
            assert client.post(address, {"text": "# x", "seen": "1"}).status_code == status
    client.force_login(looking)
    assert "Edit card" not in text(client, reader.page)
    client.logout()
    assert client.get(addresses[0]).headers["Location"].startswith("/login")
    assert reader.versions.count() == 1


@pytest.mark.parametrize("seen", ["", "x", "²", "-1", "9" * 40])
def test_a_form_that_somebody_changed_breaks_nothing(signed_in, reader, seen):
    assert save(signed_in, reader, "# x", seen=seen).status_code in {302, 412}


def test_the_editor_asks_for_nothing_from_other_hosts(signed_in, reader):
    shown = text(signed_in, f"{reader.page}/edit")
    assert "//" not in shown.replace("http://testserver", "").replace("//www.w3.org", "")
