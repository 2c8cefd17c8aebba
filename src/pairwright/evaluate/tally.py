"""Where the tasks write their numbers: each metric once, with its interval, its chance level, and every item it was made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from pairwright.evaluate.intervals import Statistic, bootstrap, mean
from pairwright.evaluate.result import ITEMS, Number


class Tally:
    """Collects metrics of one evaluation. draws: bootstrap resamples for each interval."""

    def __init__(self, draws: int = 1000) -> None:
        self.draws = draws
        self.metrics: dict[str, Number] = {}
        self.answers: pa.Table | None = None
        self._items: list[pa.Table] = []

    def add(
        self,
        metric: str,
        value_M: ArrayLike,
        id_M: Sequence[str],
        group_M: Sequence[str],
        *,
        seed_M: ArrayLike | None = None,
        statistic: Statistic | None = None,
        chance: float | None = None,
    ) -> Number:
        """One metric over M items. statistic: how items make the number (their mean by default). seed_M: which run an item is from."""
        value_M = np.asarray(value_M, dtype=np.float64)
        seed_M = np.zeros(len(value_M), dtype=np.int64) if seed_M is None else np.asarray(seed_M, dtype=np.int64)
        est = bootstrap(statistic or mean(value_M), group_M, run_M=seed_M, draws=self.draws)
        self.metrics[metric] = Number(est.value, est.low, est.high, est.n, est.groups, chance)
        columns = [pa.array([metric] * len(value_M)), pa.array(list(id_M)), pa.array(list(group_M)), pa.array(seed_M), pa.array(value_M)]
        self._items.append(pa.Table.from_arrays(columns, schema=ITEMS))
        return self.metrics[metric]

    @property
    def items(self) -> pa.Table:
        return pa.concat_tables(self._items) if self._items else ITEMS.empty_table()


def chance_in_top_k(positives_Q: ArrayLike, candidates: int, k: int) -> float:
    """The mean chance that a random order of the candidates puts at least one of a query's positives among the first k (hypergeometric)."""
    p_Q = np.asarray(positives_Q)
    if k >= candidates:
        return float((p_Q > 0).mean())
    miss = {p: math.prod(max(candidates - p - i, 0) / (candidates - i) for i in range(k)) for p in set(p_Q.tolist())}
    return float(np.mean([1 - miss[p] for p in p_Q.tolist()]))
