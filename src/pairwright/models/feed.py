"""Batches of decoded pictures, made in threads while the model computes: each thread writes its pixels straight into the batch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pairwright.data.images import BadImage, open_image

Picture = str | os.PathLike[str] | bytes | Image.Image
SPARE = 2
"""The decoder averages blocks, which is cruder than the resize that follows: so much is left to the latter."""
AHEAD = 2
"""Batches in memory at a time: one that the model computes on, one that is being decoded."""


@dataclass(frozen=True)
class Batch:
    """Consecutive pictures. names and x: those that could be read; bad: (name, error) of the others.

    x: uint8 (B, H, W, 3) where the preprocessing has a `normalise` to come, else what it returned, stacked.
    """

    names: tuple[str, ...]
    x: Tensor
    bad: tuple[tuple[str, Exception], ...] = ()

    def __len__(self) -> int:
        return len(self.names) + len(self.bad)


def batches(
    sources: Sequence[tuple[str, Picture]],
    preprocess: Callable[[Image.Image], Tensor],
    batch_size: int,
    *,
    workers: int = 2,
    pin: bool = False,
) -> Iterator[Batch]:
    """Decode (id, picture) pairs in order, a batch ahead of the consumer.

    JPEGs are decoded at the smallest scale that leaves `SPARE` times the side that the model needs. pin: page-locked memory, from which
    a GPU copies while it computes.
    """
    late = hasattr(preprocess, "normalise")
    need = round(SPARE * max(preprocess.hw)) if hasattr(preprocess, "hw") else None

    def read(source: Picture) -> Any:
        # the preprocessing decides what becomes of transparency
        image = open_image(source, at_least=need, alpha=None)
        return np.asarray(preprocess.pixels(image)) if late else preprocess(image)

    def into(slot_HW3: np.ndarray, source: Picture) -> Exception | None:
        try:
            slot_HW3[...] = read(source)
        except (BadImage, FileNotFoundError) as e:
            return e
        return None

    def start(part: Sequence[tuple[str, Picture]]) -> tuple[Sequence[tuple[str, Picture]], Tensor | None, list[Future[Any]]]:
        if not late:
            return part, None, [pool.submit(_caught, read, source) for _, source in part]
        slots = torch.empty(len(part), *preprocess.hw, 3, dtype=torch.uint8, pin_memory=pin)
        return part, slots, [pool.submit(into, slot, source) for slot, (_, source) in zip(slots.numpy(), part, strict=True)]

    waiting: deque[Any] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
    try:
        for at in range(0, len(sources), batch_size):
            waiting.append(start(sources[at : at + batch_size]))
            if len(waiting) == AHEAD:
                yield _finished(*waiting.popleft(), pin)
        while waiting:
            yield _finished(*waiting.popleft(), pin)
    finally:
        pool.shutdown(cancel_futures=True)


def _caught(read: Callable[[Picture], Any], source: Picture) -> Any:
    try:
        return read(source)
    except (BadImage, FileNotFoundError) as e:
        return e


def _finished(part: Sequence[tuple[str, Picture]], slots: Tensor | None, futures: Sequence[Future[Any]], pin: bool) -> Batch:
    got = [f.result() for f in futures]
    good = [i for i, x in enumerate(got) if not isinstance(x, Exception)]
    bad = tuple((part[i][0], x) for i, x in enumerate(got) if isinstance(x, Exception))
    names = tuple(part[i][0] for i in good)
    if slots is None:
        x = torch.stack([got[i] for i in good]) if good else torch.empty(0)
        return Batch(names, x.pin_memory() if pin and good else x, bad)
    if not bad:
        return Batch(names, slots)
    kept = slots[good]
    return Batch(names, kept.pin_memory() if pin and good else kept, bad)
