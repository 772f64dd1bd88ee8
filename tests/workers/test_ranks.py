"""What the processes of a group make of a batch: together the same as one process makes of it."""

from __future__ import annotations

import pytest
import torch

from steelyard_workers.group import ranks


def as_rank(monkeypatch, rank, size):
    monkeypatch.setattr(ranks, "rank", lambda: rank)
    monkeypatch.setattr(ranks, "size", lambda: size)


@pytest.mark.parametrize("pictures", [8, 7, 3])
def test_the_average_of_the_ranks_losses_is_the_loss_of_the_whole_batch(monkeypatch, pictures):
    losses, indices = torch.rand(20), torch.randperm(20)[:pictures]
    parts = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        mine = indices[rank::2]
        if len(mine) > 1:
            assert torch.equal(ranks.share(indices), mine)
        parts.append(losses[mine].mean() * ranks.weight(indices, pictures))
    assert torch.allclose(torch.stack(parts).sum() / 2, losses[indices].mean())


def test_no_rank_is_left_with_a_lone_picture(monkeypatch):
    as_rank(monkeypatch, 1, 2)
    assert len(ranks.share(torch.arange(3))) == 2
    assert ranks.weight(torch.arange(3), 3) == pytest.approx(2 / 3)


def test_outside_a_group_everything_is_as_it_was():
    indices, generator = torch.arange(5), torch.Generator()
    network = torch.nn.Linear(1, 1)
    assert ranks.wrap(network) is network
    assert torch.equal(ranks.share(indices), indices)
    assert ranks.weight(indices, 10) == 0.5
    assert ranks.draws(generator, 1, 2) is generator
    assert ranks.agree({"accuracy": 1.0}) == {"accuracy": 1.0}
    assert ranks.any_says(True, False) == [True, False]
