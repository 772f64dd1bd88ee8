"""The zoo, on its page and over the API, for whoever asks."""

from __future__ import annotations

from steelyard_contracts.zoo import ZOO


def test_the_page_shows_the_networks_of_a_task(client):
    everything = client.get("/zoo").content.decode()
    assert all(one.name in everything for one in ZOO)
    detectors = client.get("/zoo", {"task": "object-detection"}).content.decode()
    assert "rt-detr-v2-nano" in detectors
    assert "resnet-nano" not in detectors
    assert "--model rt-detr-v2-nano" in detectors
    assert client.get("/zoo", {"task": "telepathy"}).status_code == 200


def test_the_api_lists_them(client):
    found = client.get("/api/v1/zoo", {"task": "image-segmentation"}).json()
    assert [one["name"] for one in found] == ["segformer-nano", "segformer-small", "segformer-base"]
    assert found[0]["parameters"] == 456_426
    assert len(client.get("/api/v1/zoo").json()) == len(ZOO)
    assert client.get("/api/v1/zoo", {"task": "telepathy"}).status_code == 400
