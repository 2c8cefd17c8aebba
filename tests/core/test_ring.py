"""The ring on one process equals the loss of the whole batch, and blocks of other ranks send their gradients home."""

from __future__ import annotations

import pytest
import torch

from pairwright.core import dist
from pairwright.core.collect import Side
from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import generator
from pairwright.core.ring import around, one_direction_by_ring
from pairwright.losses.contrast.info_nce import InfoNCE

B = 6
GROUP = torch.tensor([0, 1, 2, 0, 3, 1])
START = {name: torch.randn(B, 4, generator=generator("ring", name), dtype=torch.float64) for name in ("image", "text")}


def leaves():
    z = {name: x.clone().requires_grad_(True) for name, x in START.items()}
    return z, torch.tensor(1.2, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("step", [1, 4, 6])
@pytest.mark.parametrize("present", [{}, {"text": torch.tensor([1, 0, 1, 1, 0, 1]).bool()}])
def test_one_process_is_the_loop_over_rows(step, present):
    z, scale = leaves()
    views = Views({n: Encoded(x) for n, x in z.items()}, group_B=GROUP, present=present)
    loss = one_direction_by_ring(InfoNCE(), views, "image", "text", lambda q, k: scale.exp() * q.z_BD @ k.z_BD.T, step)
    loss.backward()

    y, other = leaves()
    there = present.get("text", torch.ones(B).bool()).tolist()
    rows = []
    for i in range(B):
        logits = [other.exp() * (y["image"][i] @ y["text"][j]) for j in range(B)]
        mine = [j for j in range(B) if GROUP[j] == GROUP[i] and there[j]]
        if mine:
            norm = sum(logits[j].exp() for j in range(B) if there[j]).log()
            rows.append(sum(norm - logits[j] for j in mine) / len(mine))
    expected = sum(rows) / len(rows)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for a, b in ((z["image"], y["image"]), (z["text"], y["text"]), (scale, other)):
        torch.testing.assert_close(a.grad, b.grad)


def test_blocks_know_their_place_and_carry_gradients_to_their_owner(monkeypatch):
    others = {0: torch.full((2, 3), 10.0), 1: torch.full((2, 3), 20.0)}
    sums = {owner: torch.zeros(2, 3) for owner in others}

    def visits(still, carried):
        yield 2, list(still), list(carried)
        for owner, x in others.items():
            yield owner, [x], [sums[owner]] if carried else []

    monkeypatch.setattr(dist, "ring", visits)
    own = Side(Encoded(torch.zeros(2, 3, requires_grad=True)))
    for block in around(own):
        assert len(block) == 2
        assert block.at == {0.0: 4, 10.0: 0, 20.0: 2}[float(block.side.e.z_BD[0, 0].detach())]
        block.side.add(0, slice(0, 1), torch.full((1, 3), float(block.at + 1)))
    assert own.grads[0].tolist() == [[5.0] * 3, [0.0] * 3]
    assert [sums[o][0, 0].item() for o in (0, 1)] == [1.0, 3.0]
    with torch.no_grad():
        assert not any(block.side.e.z_BD.requires_grad for block in around(Side(Encoded(torch.zeros(2, 3, requires_grad=True)))))


def test_a_loss_that_looks_at_columns_is_told_to_gather():
    class Nosy(InfoNCE):
        def rows(self, p):
            return p.k.z_BD.sum(1)

    z, _ = leaves()
    with pytest.raises(ValueError, match="across='gather'"):
        one_direction_by_ring(Nosy(), Views({n: Encoded(x) for n, x in z.items()}), "image", "text", lambda q, k: q.z_BD @ k.z_BD.T, 3)
