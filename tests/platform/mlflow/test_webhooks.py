"""Webhooks of MLflow's clients: what happens, whoever did it, in MLflow's words and signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import Scope
from steelyard_platform.accounts.tokens import actor_for_user, issue_token
from steelyard_platform.repos.deliveries import deliver_due
from steelyard_platform.repos.models import Repository, Version, WebhookDelivery
from steelyard_platform.weights.services import promote_version
from tests.platform.mlflow.conftest import Speaker
from tests.support.factories import commit_files, make_repository

pytestmark = pytest.mark.django_db
CREATED = [{"entity": "MODEL_VERSION", "action": "CREATED"}]


@pytest.fixture
def posted(monkeypatch):
    """What is sent, as (url, body, headers); everything is taken."""
    sent = []

    def post(url, body, headers):
        sent.append((url, body.decode(), headers))
        return 200

    def deliver():
        sent.clear()
        deliver_due(post)
        return list(sent)

    return deliver


@pytest.fixture
def lab(client, ada):
    """Ada, by a token of her team lab."""
    user, team = User.objects.get(username="ada"), Team.objects.get(name="lab")
    return Speaker(client, issue_token(name="t", scope=Scope.WRITE, user=user, team=team)[1], "ada")


def made(speaker, *events, **more):
    asked = [dict(zip(("entity", "action"), one.upper().split("."), strict=True)) for one in events]
    body = {"name": "hook", "url": "https://example.com/in", "events": asked, **more}
    return speaker.post("webhooks", **body)["webhook"]


def test_a_version_that_came_by_any_way_is_told_in_mlflows_words(lab, posted):
    made(lab, "model_version.created", "model_version_alias.created", "registered_model.created", secret="s3cret")
    owner = User.objects.get(username="ada")
    repository = make_repository(Team.objects.get(name="lab"), owner, "pushed")
    commit_files(repository, owner, {"model.safetensors": b"x"})
    promote_version(version=Version.objects.get(), alias="production", reason="", actor=actor_for_user(owner))
    sent = posted()
    bodies = [json.loads(body) for _, body, _ in sent]
    assert [f"{body['entity']}.{body['action']}" for body in bodies] == [
        "registered_model.created",
        "model_version.created",
        "model_version_alias.created",
    ]
    assert bodies[1]["data"]["name"] == "pushed"
    assert bodies[1]["data"]["version"] == "1"
    assert bodies[2]["data"] == {"name": "pushed", "alias": "production", "version": "1"}
    _, body, headers = sent[0]
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body}".encode()
    digest = base64.b64encode(hmac.new(b"s3cret", signed, hashlib.sha256).digest()).decode()
    assert headers["X-MLflow-Signature"] == f"v1,{digest}"
    assert not WebhookDelivery.objects.exists()


def test_an_experiment_is_no_model_until_somebody_registers_it(lab, posted):
    made(lab, "registered_model.created")
    lab.post("experiments/create", name="trials")
    assert posted() == []
    lab.post("registered-models/create", name="trials", description="the best of them")
    (told,) = [json.loads(body)["data"] for _, body, _ in posted()]
    assert (told["name"], told["description"]) == ("trials", "the best of them")


def test_what_was_not_asked_for_is_not_sent(lab, posted):
    made(lab, "model_version_tag.set", "model_version_alias.deleted")
    lab.post("registered-models/create", name="far")
    lab.post("model-versions/create", name="far", source="s3://x")
    assert posted() == []
    lab.post("model-versions/set-tag", name="far", version="1", key="k", value="v")
    lab.post("registered-models/alias", name="far", alias="best", version="1")
    lab.call("DELETE", "registered-models/alias", name="far", alias="best")
    told = [json.loads(body)["data"] for _, body, _ in posted()]
    assert told == [{"name": "far", "version": "1", "key": "k", "value": "v"}, {"name": "far", "alias": "best"}]
    assert Repository.objects.get().full_name == "lab/far"


def test_a_webhook_is_changed_listed_and_deleted(ada, eve):
    key = made(ada, "model_version.created")["webhook_id"]
    changed = ada.call("PATCH", f"webhooks/{key}", name="other", description="d", status="DISABLED")["webhook"]
    assert (changed["name"], changed["status"], changed["events"]) == ("other", "DISABLED", CREATED)
    made(ada, "model_version.created")
    page = ada.get("webhooks", max_results=1)
    assert len(ada.get("webhooks", max_results=1, page_token=page["next_page_token"])["webhooks"]) == 1
    assert eve.get("webhooks")["webhooks"] == []
    assert eve.refused("GET", f"webhooks/{key}") == (
        404, "RESOURCE_DOES_NOT_EXIST", f"Webhook with ID {key} not found.",
    )  # fmt: skip
    ada.call("DELETE", f"webhooks/{key}")
    assert ada.refused("GET", f"webhooks/{key}")[0] == 404


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "   "}, "Webhook URL cannot be empty"),
        ({"url": "ftp://example.com"}, "Invalid webhook URL scheme"),
        ({"url": "http://[invalid"}, "Invalid webhook URL"),
        ({"events": []}, "at least one event"),
        ({"events": [{"entity": "PROMPT", "action": "CREATED"}]}, "'prompt.created' does not happen here"),
    ],
)
def test_a_webhook_that_cannot_be_meant_is_refused(ada, more, said):
    body = {"name": "hook", "url": "https://example.com", "events": CREATED, **more}
    assert said in ada.refused("POST", "webhooks", **body)[2]
