"""Batches of decoded pairs in one global order: the same for any number of workers and ranks, resumable at any sample."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import torch

from pairwright.core.numerics import hash_uniform, seed_of
from pairwright.data import columns
from pairwright.data.cache import DecodedCache
from pairwright.data.pool import Decode, DecodePool

Batch = dict[str, Any]
"""images uint8 (b, C, S, S), or a list of (C, H, W) where no size is given; captions: one string per row, or a list of lists; ids:
strings; sample, group: int64 (b,); weight: float32 (b,); row: int64 (b,) row numbers in the table; epoch: int."""


class BatchSampler(Protocol):
    """What the loader needs of a sampler: global batches of row numbers by epoch, and what their order depends on."""

    n: int
    batch_size: int
    seed: int

    def batches(self, epoch: int) -> list[np.ndarray]: ...

    def spec(self) -> dict[str, Any]: ...


class BrokenRow(ValueError):
    """A row that cannot be used, under strict=True."""


def share(batches: list[np.ndarray], sample: int, rank: int, world: int) -> Iterator[tuple[int, np.ndarray]]:
    """One rank's part of an epoch from global sample number `sample` on: (sample number after the batch, rows of this rank).

    Each global batch is cut into `world` contiguous parts, so that the ranks' parts in order are the batch. A start inside a batch gives
    the rest of that batch first.
    """
    done = 0
    for batch in batches:
        rest = batch[max(0, sample - done) :]
        done += len(batch)
        if len(rest):
            yield done, np.array_split(rest, world)[rank]


class Loader:
    """Decode and batch the rows of a table in the sampler's order.

    table: pairs (see `data.table`). sampler: global batches; rank r of `world` gets the r-th contiguous part of each, so that the ranks'
    parts in order are the global batch. size: side of the square images; None gives a list of images in their own sizes. channels: 3, or
    4 to keep transparency. fit, limits, formats: see `images.pixels`. captions: ``"one"`` draws one per row, keyed by sample id and
    epoch; ``"all"`` gives lists; None leaves them out. workers: decoding processes (0: none); with `cache`, threads that read ahead.
    prefetch: batches kept ready. cache: a `DecodedCache` of the same table, which then also says size and channels.

    A row that is broken (no image, or no caption where one is asked for) is replaced by the next good row of the table, whatever the
    rank or worker, so that batches keep their size; `skipped` lists it as {id: reason}. With strict=True it raises BrokenRow instead.

    One `for` loop over the loader is the rest of the current epoch; the next one is the next epoch. `state_dict` is the position after
    the last batch that was handed out.
    """

    def __init__(
        self,
        table: pa.Table,
        sampler: BatchSampler,
        *,
        size: int | None = None,
        channels: int = 3,
        captions: Literal["one", "all"] | None = "one",
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        prefetch: int = 2,
        cache: DecodedCache | None = None,
        strict: bool = False,
        root: str | Path | None = None,
        **options: Any,
    ) -> None:
        if sampler.n != len(table):
            raise ValueError(f"the sampler is for {sampler.n} rows, but the table has {len(table)}")
        if cache is not None and len(cache) != len(table):
            raise ValueError(f"the cache holds {len(cache)} images, but the table has {len(table)} rows: build it from the same table")
        if not 0 <= rank < world or sampler.batch_size % world:
            raise ValueError(
                f"rank {rank} of {world}: the rank must be below the world size, and the batch of {sampler.batch_size} divisible by it"
            )
        if captions is not None and "captions" not in table.column_names:
            raise ValueError("the table has no captions: pass captions=None, or add a 'captions' column")
        self.table, self.sampler, self.rank, self.world = table, sampler, rank, world
        self.captions, self.cache, self.strict, self.workers, self.prefetch = captions, cache, strict, workers, max(prefetch, workers, 1)
        self.epoch, self.sample = 0, 0
        self.skipped: dict[str, str] = {}
        self._options = {**options, "size": size, "channels": channels}
        self._ids, self._captions = table.column("id").combine_chunks(), table.column("captions").combine_chunks() if captions else None
        self._sample, self._group, self._weight = columns.sample_ids(table), columns.group_ids(table), columns.weights(table)
        self._rows = hashlib.sha256(self._sample.astype("<i8").tobytes()).hexdigest()[:16]
        self._images = columns.ImageColumn(table, root) if cache is None else None
        self._broken: dict[int, str] = {}
        if cache is not None:
            reasons = cache.skipped
            self._broken = {int(row): reasons[self._ids[int(row)].as_py()] for row in np.flatnonzero(~cache.good_N)}

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the current epoch that are left; afterwards the loader stands at the start of the next epoch."""
        epoch = self.epoch
        todo = deque(share(self.sampler.batches(epoch), self.sample, self.rank, self.world))
        waiting: deque = deque()
        with DecodePool(self.workers, **self._options) as pool:
            while todo or waiting:
                while todo and len(waiting) < self.prefetch:
                    position, rows = todo.popleft()
                    waiting.append((position, pool.submit(self._make, rows, epoch)))
                position, future = waiting.popleft()
                batch, skipped = future.result()
                if skipped and self.strict:
                    raise BrokenRow("{}: {}".format(*next(iter(skipped.items()))))
                self.skipped.update(skipped)
                self.epoch, self.sample = epoch, position
                yield batch
        self.epoch, self.sample = epoch + 1, 0

    def forever(self) -> Iterator[Batch]:
        """Epoch after epoch, without end."""
        while True:
            yield from self

    def __len__(self) -> int:
        """Batches in the current epoch."""
        return len(self.sampler.batches(self.epoch))

    def state_dict(self) -> dict[str, Any]:
        """The position, as small JSON: epoch and number of global samples handed out in it, and what the order depends on."""
        return {"epoch": self.epoch, "sample": self.sample, "order": self._order()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved position, with any number of workers and ranks. A state of other data or another order is refused."""
        mine = self._order()
        if state["order"] != mine:
            other = sorted(k for k in {*mine, *state["order"]} if mine.get(k) != state["order"].get(k))
            raise ValueError(
                f"this position was saved for another order of samples ({', '.join(other)} differ): use the same table, sampler and seed"
            )
        self.epoch, self.sample = int(state["epoch"]), int(state["sample"])

    def _order(self) -> dict[str, Any]:
        return {**self.sampler.spec(), "rows": self._rows}

    def _make(self, decode: Decode, wanted: np.ndarray, epoch: int) -> tuple[Batch, dict[str, str]]:
        """Decode one rank's rows, walking on from each broken row to the next good one."""
        rows = wanted.copy()
        images: dict[int, Any] = {}
        skipped: dict[str, str] = {}
        texts: dict[int, list[str]] = {}
        for _ in range(len(self.table) + 1):
            self._look(decode, rows, images, texts)
            bad = np.array([int(row) in self._broken for row in rows], bool)
            if not bad.any():
                return self._batch(rows, images, texts, epoch), skipped
            for row in rows[bad]:
                skipped[self._ids[int(row)].as_py()] = self._broken[int(row)]
            if self.strict:
                return {}, skipped
            rows[bad] = (rows[bad] + 1) % len(self.table)
        raise ValueError(f"none of the {len(self.table)} rows can be used; first: {next(iter(skipped.items()))}")

    def _look(self, decode: Decode, rows: np.ndarray, images: dict[int, Any], texts: dict[int, list[str]]) -> None:
        """Read captions and decode images of the rows not seen yet; note in `_broken` why a row cannot be used."""
        new = [r for r in dict.fromkeys(rows.tolist()) if r not in images and r not in self._broken]
        if self._captions is not None and new:
            for row, values in zip(new, self._captions.take(pa.array(new)).to_pylist()):
                texts[row] = [c for c in values or () if c is not None and c.strip()]
                if not texts[row]:
                    self._broken[row] = "no caption in this row"
            new = [r for r in new if texts[r]]
        if self.cache is not None:
            images.update(dict.fromkeys(new))
            return
        for row, result in zip(new, decode([self._images[row] for row in new])):
            if isinstance(result, str):
                self._broken[row] = result
            else:
                images[row] = result

    def _batch(self, rows: np.ndarray, images: dict[int, Any], texts: dict[int, list[str]], epoch: int) -> Batch:
        if self.cache is not None:
            pictures = self.cache[rows]
        else:
            each = [torch.from_numpy(images[int(row)].copy()).permute(2, 0, 1) for row in rows]
            pictures = torch.stack(each).contiguous() if self._options["size"] is not None else each
        sample = torch.from_numpy(self._sample[rows])
        batch = {"images": pictures, "ids": self._ids.take(pa.array(rows)).to_pylist(), "sample": sample}
        batch |= {"group": torch.from_numpy(self._group[rows]), "weight": torch.from_numpy(self._weight[rows])}
        batch |= {"row": torch.from_numpy(rows), "epoch": epoch}
        if self.captions == "all":
            batch["captions"] = [texts[int(row)] for row in rows]
        elif self.captions == "one":
            draw = hash_uniform(sample, salt=seed_of("caption", self.sampler.seed, epoch)).tolist()
            batch["captions"] = [texts[int(row)][int(u * len(texts[int(row)]))] for row, u in zip(rows, draw)]
        return batch
