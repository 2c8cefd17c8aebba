"""What `precision="auto"` chose against every other backend of this machine, on the same tower and the same images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.harness import Case, Entry, timed
from bench.twins import chosen, near, vit_b_32
from pairwright.models.backend.candidates import Candidate, Job, candidates

N = 64
SLOW_TO_OPEN = 30.0
"""What takes longer to prepare, in seconds, is left to those who ask for it."""


def cases() -> Iterator[Case]:
    _, ours = vit_b_32()
    x = torch.randn(N, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    run = chosen(ours, x)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(ours.towers["image"], x, N, Path(folder))
        others = [c for c in candidates("auto", ours.device) if c.name != run.name and c.opening < SLOW_TO_OPEN]
        yield Case(
            name="precision",
            title="The chosen backend against the others, ViT-B-32",
            inputs=f"{N} images of 224 x 224 in one batch; seeded random weights.",
            cost="seconds",
            ours=Entry(f"auto: {run.name}", "backend(model, x, precision='auto')", timed(torch.inference_mode()(lambda: run(x)))),
            peers=[entry(c, job, x) for c in others],
            agree=near,
            rounds=5,
            bar=0.95,
            note="The choice is right if no other backend is faster by more than the noise of a measurement.",
        )


def entry(c: Candidate, job: Job, x: torch.Tensor) -> Entry:
    with torch.no_grad():
        run = c.build(job)
    return Entry(c.name, f"precision {c.precision}", timed(torch.inference_mode()(lambda: run(x))))
