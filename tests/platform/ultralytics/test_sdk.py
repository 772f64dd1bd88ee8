"""What the client's SDK asks of a registry: projects, models, datasets, uploads, the trash."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.jobs import JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import Token
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.repos.services import create_branch
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(client, owner):
    """A request below /ultralytics/api, with the owner's token: (status, answer)."""
    token = token_for(owner)

    def call(method, path, body=None, secret=token):
        data = json.dumps(body) if body is not None else ""
        authorization = {"HTTP_AUTHORIZATION": f"Bearer {secret}"} if secret else {}
        response = client.generic(
            method, f"/ultralytics/api/{path}", data, content_type="application/json", **authorization
        )
        return response.status_code, response.json()

    return call


def test_a_project_from_its_making_to_the_trash_and_back(ask, team):
    made = ask("POST", "projects", {"project": "My shelf", "name": "My shelf", "owner": team.name, "license": "MIT"})
    assert (made[0], made[1]["project"], made[1]["owner"]) == (201, "my-shelf", team.name)
    status, found = ask("GET", f"projects/{team}/my-shelf")
    assert (status, found["project"]["license"], found["project"]["visibility"]) == (200, "mit", "private")
    assert (found["models"], found["isOwner"]) == ([], True)
    changes = {"description": "Finds shapes.", "tags": ["shapes"], "visibility": "public"}
    assert ask("PATCH", f"projects/{team}/my-shelf", changes) == (200, {"success": True, "project": "my-shelf"})
    _, listed = ask("GET", f"projects/{team}")
    assert [(one["description"], one["tags"], one["visibility"]) for one in listed["projects"]] == [
        ("Finds shapes.", ["shapes"], "public")
    ]
    assert ask("PATCH", f"projects/{team}/my-shelf", {"name": "Other shelf"})[1]["project"] == "other-shelf"
    shelf = Repository.objects.get(name="other-shelf").pk
    assert ask("DELETE", f"projects/{team}/other-shelf") == (200, {"success": True, "cascadedModels": 0})
    assert ask("GET", f"projects/{team}/other-shelf")[0] == 404
    ((_, trash),) = [ask("GET", "trash?type=project")]
    assert [item["name"] for item in trash["items"]] == ["other-shelf"]
    assert ask("POST", "trash", {"id": "no id", "type": "project"})[0] == 404
    assert ask("POST", "trash", {"id": str(shelf), "type": "project"}) == (200, {"success": True})
    assert ask("GET", f"projects/{team}/other-shelf")[0] == 200


def test_a_model_is_made_uploaded_deleted_and_restored(ask, client, owner, team):
    make_repository(team, owner, "shelf")
    body = {"owner": team.name, "project": "shelf", "model": "mine", "name": "mine", "task": "detect"}
    status, made = ask("POST", "models", body)
    assert (status, made["model"]) == (201, "mine")
    one = f"models/{team}/shelf/mine"
    assert ask("GET", one)[1]["model"]["status"] == "untrained"
    assert ask("GET", f"{one}/files")[1] == {"files": []}
    asked = {"assetType": "models", "assetId": made["id"], "filename": "best.pt", "contentType": "x", "totalBytes": 7}
    status, signed = ask("POST", "upload/signed-url", asked)
    assert status == 200
    assert ask("POST", "upload/complete", {"sessionId": signed["sessionId"]})[0] == 409
    put = client.generic("PUT", signed["uploadUrl"].removeprefix("http://testserver"), b"weights")
    assert put.status_code == 200
    assert ask("POST", "upload/complete", {"sessionId": signed["sessionId"], "checksum": "0" * 64})[0] == 400
    for _ in range(2):
        status, done = ask("POST", "upload/complete", {"sessionId": signed["sessionId"]})
        assert (status, done["file"]["size"]) == (200, 7)
    shelf = Repository.objects.get(name="shelf")
    assert resolve(shelf).commit_id == Version.objects.get(number=2).commit_id
    _, found = ask("GET", one)
    assert (found["model"]["status"], found["model"]["hasWeights"], found["model"]["version"]) == (
        "completed",
        True,
        "v2",
    )
    (file,) = ask("GET", f"{one}/files")[1]["files"]
    assert (file["name"], file["size"]) == ("shelf-v2.pt", 7)
    assert ask("GET", f"models/{team}/shelf/v2/files")[1]["files"][0]["name"] == "shelf-v2.pt"
    assert ask("GET", f"models/{team}/shelf/v9/files")[0] == 404
    # What a conversion makes of it goes and comes with it.
    create_branch(repository=shelf, name="v2-safetensors", start=resolve(shelf), actor=actor_for_user(owner))
    commit_files(shelf, owner, {"model.safetensors": b"twin"}, branch="v2-safetensors")
    assert ask("DELETE", one) == (200, {"success": True})
    assert ask("GET", one)[0] == 404
    assert resolve(shelf).version is None
    assert ask("GET", f"models/{team}/shelf")[1] == {"models": []}
    (item,) = ask("GET", "trash?type=model")[1]["items"]
    assert ask("GET", "trash")[1]["items"] == [item]
    assert ask("GET", "trash?page=2")[1]["items"] == []
    assert ask("POST", "trash", {"id": item["_id"], "type": "model"}) == (200, {"success": True})
    assert ask("GET", one)[1]["model"]["version"] == "v2"
    assert resolve(shelf, "v2-safetensors").version is not None


def test_a_training_shows_its_progress_and_is_cancelled(ask, training, team):
    training.start()
    training.epoch(0)
    one = f"models/{training.project}/exp1"
    _, found = ask("GET", f"{one}/training")
    job = found["job"]
    assert (job["status"], job["progress"]["currentEpoch"], job["progress"]["totalEpochs"]) == ("running", 1, 2)
    assert job["epochMetrics"]["metrics/mAP50_B"] == 0.25
    assert ask("DELETE", f"{one}/training") == (200, {"success": True, "status": "cancelled"})
    assert training.epoch(1).json()["cancelled"] is True
    assert ask("PATCH", one, {"name": "the best one", "description": "so far"})[1]["model"] == "the-best-one"
    (record,) = ask("GET", f"models/{training.project}")[1]["models"]
    assert (record["model"], record["description"], record["hasWeights"]) == ("the-best-one", "so far", False)


def test_a_dataset_is_described_and_exported(ask, training, owner, team):
    assert (
        ask("POST", "datasets", {"dataset": "cats", "name": "cats", "owner": team.name, "task": "classify"})[0] == 201
    )
    repository = Repository.objects.get(name="cats", kind=RepositoryKind.DATASET)
    picture_dataset(repository, owner)
    _, found = ask("GET", f"datasets/{team}/cats")
    dataset = found["dataset"]
    assert (dataset["task"], dataset["imageCount"], dataset["classNames"]) == ("classify", 12, ["a", "b"])
    assert (dataset["splits"]["val"], dataset["status"]) == (6, "ready")
    assert [one["version"] for one in dataset["versions"]] == [1]
    assert [one["dataset"] for one in ask("GET", f"datasets/{team}")[1]["datasets"]] == ["cats"]
    _, export = ask("GET", f"datasets/{team}/cats/export?v=1")
    assert export["version"] == 1
    assert "/ultralytics/exports/" in export["downloadUrl"]
    assert ask("GET", f"datasets/{team}/cats@v1/export")[1]["version"] == 1
    assert ask("GET", f"datasets/{team}/cats@v9/export")[0] == 404
    assert ask("POST", f"datasets/{team}/cats/clone", {})[0] == 501
    assert ask("POST", f"datasets/{team}/cats/export", {})[1]["reused"] is True
    assert ask("GET", f"datasets/{team}/cats/class-stats")[1]["classes"][0] == {"classId": 0, "count": 6}
    training.start(data=f"ul://{team}/datasets/cats")
    training.upload(b"weights")
    (model,) = ask("GET", f"datasets/{team}/cats/models")[1]["models"]
    assert model["model"] == "exp1"
    assert ask("PATCH", f"datasets/{team}/cats", {"description": "Cats."})[0] == 200
    assert ask("DELETE", f"datasets/{team}/cats") == (200, {"success": True})


def test_the_account_is_the_tokens(ask, owner, team):
    status, summary = ask("GET", "account/summary")
    assert (status, summary["username"], summary["accountType"]) == (200, owner.username, "personal")
    (key,) = ask("GET", "api-keys")[1]["keys"]
    assert key["keyPrefix"] == Token.objects.get(user=owner).hint
    assert ask("GET", "storage?details=true")[1]["username"] == owner.username
    assert ask("GET", f"users?username={team}")[1]["user"]["accountType"] == "team"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "billing/usage-summary", 404),
        ("POST", "training/start", 501),
        ("GET", "training/gpu-availability", 200),
        ("GET", "projects/nobody/nothing", 404),
        ("PUT", "projects", 405),
        ("GET", "trash?type=image", 400),
        ("POST", "trash", 400),
        ("POST", "upload/signed-url", 400),
        ("POST", "upload/complete", 400),
        ("GET", "projects/nobody?limit=many", 400),
    ],
)
def test_what_is_not_here_is_refused_in_its_own_shape(ask, method, path, status):
    answered, body = ask(method, path, {} if method == "POST" else None)
    assert answered == status
    assert status == 200 or isinstance(body["error"], str)


@pytest.mark.parametrize("path", ["account/summary", "projects/x", "trash", "models/a/b/c"])
def test_nobody_is_asked_for_a_token(ask, path):
    assert ask("GET", path, secret="")[0] == 401


def test_strangers_see_nothing_of_a_private_project(ask, training):
    training.start()
    secret = token_for(make_user())
    for path in (f"projects/{training.project}", f"models/{training.project}", f"models/{training.project}/exp1"):
        assert ask("GET", path, secret=secret)[0] == 404
    assert ask("DELETE", f"models/{training.project}/exp1/training", secret=secret)[0] == 404
    assert training.run.state == JobState.RUNNING
    assert ask("GET", f"projects/{training.project.partition('/')[0]}", secret=secret)[1]["projects"] == []


def test_addresses_that_clients_print_lead_to_pages(client):
    assert client.get("/ultralytics/settings?tab=api-keys").headers["Location"] == "/settings/tokens"
    assert b"steelyard/mlflow.js" in client.get("/mlflow/").content
