"""The shared training loop against torch's AdamW and schedule, and the order of rows."""

from __future__ import annotations

import torch

from pairwright.heads.descent import by_content, descend, precision

RNG = torch.Generator().manual_seed(0)
Z, Y = torch.randn(24, 5, generator=RNG, dtype=torch.float64), torch.randint(0, 3, (24,), generator=RNG)


def test_full_batch_steps_are_those_of_torchs_adamw():
    loss = lambda w, rows: torch.nn.functional.cross_entropy(Z[rows] @ w.T, Y[rows])
    ours = torch.ones(3, 5, dtype=torch.float64, requires_grad=True)
    assert descend([ours], lambda rows: loss(ours, rows), 24, lr=0.1, epochs=12, decay=0.3, eps=1e-4) == 12
    theirs = torch.nn.Parameter(torch.ones(3, 5, dtype=torch.float64))
    optimizer = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.3, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for _ in range(12):
        optimizer.zero_grad()
        loss(theirs, torch.arange(24)).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-10, atol=1e-10)


def test_batches_of_an_epoch_cover_all_rows_once_and_steps_are_capped():
    seen = []
    w = torch.zeros(1, requires_grad=True)

    def loss(rows):
        seen.append(rows.tolist())
        return w.sum()

    assert descend([w], loss, 10, lr=0.1, epochs=5, batch=4, most_steps=6) == 6
    assert [len(s) for s in seen] == [4, 4, 2, 4, 4, 2]
    first, second = ([r for part in seen[i : i + 3] for r in part] for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_row_order_depends_on_content_alone():
    z = Z.float()
    shuffle = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    assert torch.equal(z[by_content(z)], z[shuffle][by_content(z[shuffle])])
    assert not torch.equal(by_content(z), torch.arange(24))
    assert len(by_content(z[:0])) == 0


def test_precision_falls_with_size():
    assert precision(320, 20, 64) == torch.float64
    assert precision(16_000, 1_000, 512) == torch.float32
