"""From a loader of raw rows to a source of training batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pairwright.data.loader import Loader
from pairwright.train.stage import Batch


class LoaderSource:
    """A `Loader` as a Source: positions the loader at any global step, and turns each raw batch into what the towers eat.

    collate: raw batch of the loader -> Batch, pure. more: JSON facts that the batches depend on beyond the loader's order.
    """

    def __init__(self, loader: Loader, collate: Callable[[dict[str, Any]], Batch], more: Mapping[str, Any] | None = None) -> None:
        self.loader, self.collate, self.more = loader, collate, dict(more or {})
        self.batch_size = loader.sampler.batch_size

    def spec(self) -> dict[str, Any]:
        return {**self.loader.state_dict()["order"], "batch_size": self.batch_size, **self.more}

    def batches(self, start: int) -> Iterator[Batch]:
        sizes = [len(b) for b in self.loader.sampler.batches(0)]
        epoch, step = divmod(start, len(sizes))
        self.loader.load_state_dict({**self.loader.state_dict(), "epoch": epoch, "sample": sum(sizes[:step])})
        for raw in self.loader.forever():
            yield self.collate(raw)
