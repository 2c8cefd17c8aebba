"""The exact index against a sort in float64, its laws (ids stable, deleted ids gone, ties in order), and a kill while it writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairwright.core.features import EncoderMismatch, Features
from pairwright.search.index import exact
from pairwright.search.index.exact import ExactIndex, first_best


def a_matrix(n: int, d: int, seed: int) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, d))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def oracle(z: np.ndarray, q: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(q @ z.T), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("block", [7, 64, 10_000])
def test_recall_is_one_for_any_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "BLOCK", block)
    z, q = a_matrix(500, 16, 0), a_matrix(9, 16, 1)
    index = ExactIndex(16)
    index.add([f"r{i}" for i in range(500)], z)
    hits = index.search(q, 12)
    expected = oracle(z, q, 12)
    assert hits.ids == [[f"r{i}" for i in row] for row in expected]
    np.testing.assert_allclose(hits.scores_QK.numpy(), np.take_along_axis(q @ z.T, expected, 1), atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 8))
def test_ties_come_in_order(rows: list[list[int]], k: int) -> None:
    scores = torch.tensor(rows, dtype=torch.float32)
    values, index = first_best(scores, k)
    expected = np.argsort(-scores.numpy(), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(index.numpy(), expected)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(scores.numpy(), expected, 1))


def test_ties_come_in_order_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "BLOCK", 3)
    index = ExactIndex(2)
    index.add([str(i) for i in range(10)], torch.tensor([[1.0, 0.0]]).expand(10, 2))
    assert index.search(torch.tensor([[2.0, 1.0]]), 5).ids == [["0", "1", "2", "3", "4"]]


def test_a_random_life_agrees_with_a_dictionary() -> None:
    rng = np.random.default_rng(3)
    index, truth, next_id = ExactIndex(8), {}, 0
    for _ in range(60):
        if truth and rng.random() < 0.4:
            gone = [str(i) for i in rng.choice(list(truth), size=min(len(truth), 3), replace=False)]
            index.delete(gone)
            for i in gone:
                truth.pop(i)
        else:
            z = a_matrix(4, 8, next_id)
            ids = [f"i{next_id + j}" for j in range(4)]
            index.add(ids, z)
            truth.update(zip(ids, z, strict=True))
            next_id += 4
        q = a_matrix(1, 8, 1000 + next_id)
        k = 5
        expected = sorted(truth, key=lambda i: -float(q[0] @ truth[i]))[:k]
        assert index.search(q, k).ids[0] == expected
    assert len(index) == len(truth)


def test_save_and_load(tmp_path: Path) -> None:
    index = ExactIndex(4, "enc")
    index.add(["ä", "b", "c"], a_matrix(3, 4, 0))
    index.delete(["b"])
    index.save(tmp_path / "i.safetensors")
    again = ExactIndex.load(tmp_path / "i.safetensors")
    assert (again.ids, again.encoder) == (["ä", "c"], "enc")
    assert torch.equal(again.z_ND, index.z_ND)


def test_refusals() -> None:
    index = ExactIndex(4, "enc")
    index.add(["a"], torch.eye(4)[:1])
    with pytest.raises(ValueError, match="'a' is in the index already"):
        index.add(["b", "a"], torch.eye(4)[:2])
    with pytest.raises(ValueError, match="'b' is in the index already"):
        index.add(["b", "b"], torch.eye(4)[:2])
    assert index.ids == ["a"]
    with pytest.raises(ValueError, match="has no 'z'"):
        index.delete(["a", "z"])
    assert index.ids == ["a"]
    with pytest.raises(EncoderMismatch, match="enc"):
        index.search(Features(torch.eye(4), encoder="other"), 1)
    with pytest.raises(ValueError, match="width 4"):
        index.search(torch.eye(3), 1)
    with pytest.raises(ValueError, match="NaN"):
        index.search(torch.full((1, 4), float("nan")), 1)
    with pytest.raises(ValueError, match="1 or more"):
        index.search(torch.eye(4), 0)
    assert index.search(torch.eye(4), 9).scores_QK.shape == (4, 1)
    index.delete(["a"])
    assert index.search(torch.eye(4), 2).ids == [[], [], [], []]


@pytest.mark.parametrize("wait", [0.11, *(pytest.param(w / 100, marks=pytest.mark.slow) for w in range(5, 45, 4))])
def test_survives_a_kill_in_the_middle_of_a_write(tmp_path: Path, wait: float) -> None:
    file = tmp_path / "i.safetensors"
    code = (
        "import torch, sys\nfrom pairwright.search.index.exact import ExactIndex\nprint('go', flush=True)\nn = 0\n"
        "while True:\n    n += 1\n    i = ExactIndex(64)\n    z = torch.zeros(4000, 64); z[:, n % 64] = 1\n"
        f"    i.add([f'{{n}}-{{j}}' for j in range(4000)], z)\n    i.save({str(file)!r})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "go\n"
    deadline = time.monotonic() + 20
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(wait)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    index = ExactIndex.load(file)
    version = int(index.ids[0].split("-")[0])
    assert index.ids == [f"{version}-{j}" for j in range(4000)]
    assert index.z_ND[:, version % 64].eq(1).all()
