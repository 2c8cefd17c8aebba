"""Peak memory of the CLIP loss on a quarter of a million pairs. It is a lot of arithmetic: a quarter of an hour on two cores."""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Case
from bench.loss_memory import alone


def cases() -> Iterator[Case]:
    yield alone(262_144, 1.5 * 2**30)
