"""A dataset's pages: what it holds by split and label, what is wrong with it, and what is still being read."""

from __future__ import annotations

import re

import pytest

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.datasets import services
from tests.support.factories import commit_files, make_repository
from tests.support.vision_datasets import draw_splits, files_of, write_masks, write_yolo

pytestmark = pytest.mark.django_db

SPLITS = draw_splits({"train": 5, "val": 3}, size=(24, 16))


@pytest.fixture
def repository(owner, team):
    return make_repository(team, owner, "shapes", RepositoryKind.DATASET)


def shown(client, owner, address):
    client.force_login(owner)
    answer = client.get(address)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


@pytest.mark.parametrize("page", ["", "/versions/v1"])
def test_boxes_are_counted_by_split(client, owner, repository, tmp_path, page):
    commit_files(repository, owner, files_of(write_yolo(tmp_path, SPLITS)))
    html = shown(client, owner, f"{repository.page}{page}")
    assert "<h2>train <small>5 pictures · 5 boxes</small></h2>" in html
    assert "<h2>validation <small>3 pictures · 3 boxes</small></h2>" in html


def test_masks_show_their_classes(client, owner, repository, tmp_path):
    commit_files(repository, owner, files_of(write_masks(tmp_path, SPLITS)))
    html = shown(client, owner, repository.page)
    assert "<h2>train <small>5 pictures</small></h2>" in html
    assert '<span class="pill">background</span> <span class="pill">disc</span>' in html


def test_what_a_training_would_refuse_is_said(client, owner, repository, tmp_path):
    alone = {split: drawn for split, drawn in SPLITS.items() if split == "train"}
    commit_files(repository, owner, files_of(write_yolo(tmp_path, alone)))
    html = shown(client, owner, repository.page)
    assert (
        f"No training takes it as it is.</b> The dataset {repository.full_name} has no validation split, only: train."
        in html
    )


def test_nothing_is_said_of_what_can_be_trained(client, owner, repository, tmp_path):
    commit_files(repository, owner, files_of(write_yolo(tmp_path, SPLITS)))
    assert "No training" not in shown(client, owner, repository.page)


def test_faults_are_shown_and_what_they_name_is_text(client, owner, repository, tmp_path):
    files = files_of(write_yolo(tmp_path, SPLITS)) | {"labels/train/1.txt": b"<b>x</b>"}
    commit_files(repository, owner, files)
    html = shown(client, owner, repository.page)
    assert "1 fault in the annotations." in html
    assert "labels/train/1.txt, line 1: expected" in html
    assert "<b>x</b>" not in html


def test_what_is_being_read_says_so(client, owner, repository, tmp_path, monkeypatch):
    monkeypatch.setattr(services, "_TEXTS_AT_ONCE", 1)
    monkeypatch.setattr("celery.Celery.send_task", lambda app, name, **options: None)
    commit_files(repository, owner, files_of(write_yolo(tmp_path, SPLITS)))
    assert "Its annotations are being read. Look again in a minute." in shown(client, owner, repository.page)
