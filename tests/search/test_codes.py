"""Search by codes against a sort in float64; blocks and limits against the same; what a loaded index reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pairwright.core.numerics import unit
from pairwright.search.index import exact
from pairwright.search.index.codes import Codes
from pairwright.search.index.exact import ExactIndex, best_rows


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


def spiky(n: int, d: int, seed: int) -> torch.Tensor:
    """Rows whose largest entry hides the others from eight bits."""
    z = rows(n, d, seed)
    z[torch.arange(n), torch.arange(n) % d] += 3
    return unit(z)


def oracle(q: torch.Tensor, z: torch.Tensor, k: int) -> np.ndarray:
    return np.argsort(-(q.double() @ z.double().T).numpy(), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("make", [rows, spiky])
@pytest.mark.parametrize("d", [17, 64])
def test_codes_keep_every_one_of_the_best(make, d):
    z, q = make(3000, d, 0), make(20, d, 1)
    codes = Codes.of(z)
    for query, best in zip(q, oracle(q, z, 10)):
        found = codes.candidates(query, z, 10)
        assert set(best.tolist()) <= set(found.tolist())
        assert len(found) < len(z) / 2


def test_the_bound_is_one():
    z, q = spiky(500, 24, 2), rows(50, 24, 3).bfloat16().float()
    codes = Codes.of(z)
    about = q @ (codes.code_ND[:, :24].float() * codes.scale_N.float()[:, None]).T
    assert ((q @ z.T - about).abs() <= codes.error_N * q.norm(dim=1, keepdim=True) + 1e-6).all()
    assert codes.code_ND.abs().max() <= 127


@pytest.mark.parametrize("few", [1, 3])
def test_a_large_index_answers_single_queries_like_a_sort(few, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(exact, "LARGE", 100)
    z, q = rows(2000, 32, 4), rows(few, 32, 5)
    z[700] = z[300]  # a tie
    q[0] = z[300]
    index = ExactIndex(32)
    index.add([str(i) for i in range(2000)], z)
    expected = [[str(i) for i in row] for row in oracle(q, z, 12)]
    assert index.search(q, 12).ids == expected
    assert expected[0][:2] == ["300", "700"]
    index.save(tmp_path / "i.safetensors")
    again = ExactIndex.load(tmp_path / "i.safetensors")
    assert again.codes is not None
    assert again.search(q, 12).ids == expected
    again.delete(["300"])
    assert again.search(q[:1], 1).ids == [["700"]]
    again.add(["new"], q[:1])
    assert again.search(q[:1], 2).ids == [["700", "new"]]


@pytest.mark.parametrize("block", [64, 100, 128])
@pytest.mark.parametrize("k", [1, 10, 150, 5000])
def test_blocks_equal_a_sort(block, k, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK", block)
    z, q = rows(1000, 8, 6), rows(7, 8, 7)
    values, at = best_rows(q, z, k)
    np.testing.assert_array_equal(at.numpy(), oracle(q, z, k))
    torch.testing.assert_close(values, (q @ z.T).gather(1, at))
