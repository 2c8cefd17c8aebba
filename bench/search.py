"""Exact search over a million rows, in memory mapped from a file, against faiss' exact index."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from bench.harness import Case, Entry, timed
from pairwright.search.index.exact import ExactIndex

N, D, K = 1_000_000, 512, 10


def cases() -> Iterator[Case]:
    g = torch.Generator().manual_seed(0)
    z = torch.empty(N, D)
    for part in z.split(50_000):
        part.copy_(torch.nn.functional.normalize(torch.randn(part.shape, generator=g), dim=1))
    queries = torch.nn.functional.normalize(torch.randn(64, D, generator=g), dim=1)
    peer = faiss.IndexFlatIP(D)
    peer.add(z.numpy())
    with tempfile.TemporaryDirectory() as folder:
        built = ExactIndex(D)
        built.add([str(i) for i in range(N)], z)
        built.search(queries[:1], K)  # makes the codes
        built.save(Path(folder, "index.safetensors"))
        del built, z
        index = ExactIndex.load(Path(folder, "index.safetensors"))
        for size in (1, 64):
            yield one(index, peer, queries[:size])


def one(index: ExactIndex, peer: Any, q: torch.Tensor) -> Case:
    size = len(q)
    return Case(
        name=f"search_batch_{size}",
        title=f"Exact search, 1,000,000 x 512, {size} quer{'y' if size == 1 else 'ies'} at once",
        inputs=f"The {K} nearest of a million random unit rows; our index is mapped from its file.",
        cost="seconds",
        ours=Entry("pairwright", "index.search(q, 10)", timed(lambda: index.search(q, K))),
        peers=[Entry("faiss", "IndexFlatIP.search(q, 10)", timed(lambda: peer.search(q.numpy(), K)))],
        agree=same,
        rounds=7 if size == 1 else 5,
        warmups=2,
        bar=1.0,
        work=2.0 * N * D * size,
        note="One query costs what it costs to read the rows: we read eight-bit codes with exact error bounds and compare the few rows in "
        "question in full. Many queries are one matrix product over the rows, at the machine's peak for both."
        if size == 1
        else "One matrix product over the rows, in fp32 on both sides: bound by the machine's product peak.",
    )


def same(ours: Any, theirs: Any) -> str:
    """Recall of the brute force's answer."""
    scores, at = theirs
    hits = np.array([[int(i) for i in row] for row in ours.ids])
    recall = float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(hits, at, strict=True)]))
    apart = float(np.abs(ours.scores_QK.numpy() - scores).max())
    assert recall == 1.0, f"recall {recall}"
    assert apart < 1e-5, f"scores differ by {apart:.1e}"
    return f"recall {recall:.1f}, scores within {apart:.0e}"
