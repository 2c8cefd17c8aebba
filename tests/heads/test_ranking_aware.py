"""The ranking-aware adapter against slow loops, its limits, and an order that it can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.linear.ranking_aware import HEADS, RankingAware, fused, score, start, versus

draw = lambda *size: torch.randn(*size, generator=generator("ranking test", *size), dtype=torch.float64)
P = {name: t.detach() for name, t in start(6, 8, 3, 2, 0, torch.float64).items()}
TEXT = ClassText(unit(draw(2, 6)))


def norm(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def soft(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def test_scores_are_those_of_the_loop_over_tokens_and_heads():
    x, w = unit(draw(3, 4, 6)), unit(draw(6))
    p = {k: t.numpy() for k, t in P.items()}
    keys = np.sqrt(6) * np.concatenate([w.numpy()[None], p["prompts"]])
    for b in range(3):
        total = np.zeros(8)
        for token in np.sqrt(6) * x[b].numpy():
            out, wide = token @ p["image"], 8 // HEADS
            for h in range(HEADS):
                at = slice(h * wide, (h + 1) * wide)
                a = soft(np.array([(token @ p["query"])[at] @ (k @ p["key"])[at] for k in keys]) / np.sqrt(wide))
                out[at] += sum(a_k * (k @ p["value"])[at] for a_k, k in zip(a, keys))
            total += norm(out)
        expected = (np.maximum(norm(total @ p["hidden"]), 0) @ p["out"] + p["shift"]).item()
        assert float(score(P, fused(P, x, w))[b]) == pytest.approx(expected, abs=1e-9)


def test_pairs_share_one_softmax_over_the_tokens_of_both_images():
    h = draw(3, 5, 8)
    p = {k: t.numpy() for k, t in P.items()}
    value = np.stack([[norm(t @ p["against_value"]) for t in image] for image in h.numpy()])
    for i in range(3):
        for j in range(3):
            both, d = np.concatenate([value[i], value[j]]), np.zeros(8)
            for q in p["against_query"]:
                a = soft(both @ norm(q) / np.sqrt(8))
                d += a[:5] @ value[i] - a[5:] @ value[j]
            expected = (np.maximum(norm(d @ p["against_hidden"]), 0) @ p["against_out"]).item()
            assert float(versus(P, h)[i, j]) == pytest.approx(expected, abs=1e-9)


def order(scale: float = 1.0, rows: int = 80) -> tuple[Features, torch.Tensor]:
    """Rows along two axes of TEXT's space, graded 0 … 9 by each."""
    amount = torch.rand(rows, 2, generator=generator("amounts", rows), dtype=torch.float64)
    z = unit((2 * amount - 1) @ unit(draw(2, 6)) + 0.05 * draw(rows, 6))
    return Features(z.float(), (scale * 9 * amount).round().long()), amount


def test_one_head_sorts_by_each_of_two_instructions():
    train, amount = order()
    logits = RankingAware(steps=120).fit(train, TEXT).logits(train)
    for c in range(2):
        assert np.corrcoef(logits[:, c], amount[:, c])[0, 1] > 0.9
        assert abs(np.corrcoef(logits[:, c], amount[:, 1 - c])[0, 1]) < 0.5
    assert abs(logits.mean(0) - train.y.float().mean(0)).max() < 2  # in units of the grades


def test_without_pairs_or_with_one_grade_it_is_a_regression():
    train, _ = order(rows=12)
    alone, pairs = RankingAware(pair=0.0, steps=5).fit(train, TEXT), RankingAware(steps=5).fit(train, TEXT)
    assert not torch.equal(alone.logits(train), pairs.logits(train))
    plain, more = RankingAware(pair=0.0, steps=5, queries=1).fit(train, TEXT), RankingAware(pair=0.0, steps=5, queries=7).fit(train, TEXT)
    assert torch.equal(plain.out_, more.out_)  # the branch of pairs plays no part
    same = Features(train.z, torch.full((12, 2), 3))
    torch.testing.assert_close(RankingAware(steps=5).fit(same, TEXT).logits(train), torch.full((12, 2), 3.0))


def test_ungraded_rows_do_not_count():
    train, _ = order(rows=20)
    y = torch.cat([train.y, torch.full((5, 2), -1)])
    more = Features(torch.cat([train.z, unit(draw(5, 6)).float()]), y)
    torch.testing.assert_close(RankingAware(steps=8).fit(more, TEXT).logits(train), RankingAware(steps=8).fit(train, TEXT).logits(train))


def test_patch_tokens_are_read_and_asked_for():
    train, _ = order(rows=12)
    with_patches = Features(train.z, train.y, tokens_NMD=unit(draw(12, 3, 6)).float())
    head = RankingAware(steps=5).fit(with_patches, TEXT)
    assert (head.logits(with_patches) - RankingAware(steps=5).fit(train, TEXT).logits(train)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="fitted with patch tokens"):
        head.logits(train)


@pytest.mark.parametrize(
    ("y", "why"), [(torch.full((12, 2), -1), "ZeroShot"), (torch.full((12, 3), 1), "shape"), (torch.full((12, 2), -2), "shift")]
)
def test_bad_grades_are_refused(y, why):
    with pytest.raises(ValueError, match=why):
        RankingAware().fit(Features(order(rows=12)[0].z, y), TEXT)
