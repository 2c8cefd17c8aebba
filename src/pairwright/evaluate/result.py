"""The outcome of one evaluation: numbers with intervals, and everything that is needed to believe or repeat them. JSON in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pairwright.core import io
from pairwright.evaluate.intervals import Difference, compare

_FORMAT = 1
ITEMS = pa.schema([("metric", pa.string()), ("id", pa.string()), ("group", pa.string()), ("seed", pa.int64()), ("value", pa.float64())])


@dataclass(frozen=True)
class Number:
    """One metric: value with its 95% interval (None where there are fewer than two groups), items, groups, and what chance would give."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    groups: int = 0
    chance: float | None = None

    def __str__(self) -> str:
        span = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{span}"


@dataclass(frozen=True)
class Result:
    """Metrics of one model on one suite.

    metrics use CLIP_benchmark's keys where it has them (``acc1``, ``acc5``, ``mean_per_class_recall``, ``image_retrieval_recall@5``: text
    finds image, ``text_retrieval_recall@5``: image finds text); a part follows in brackets: ``acc1[tip_adapter,k=4]``,
    ``image_retrieval_recall@5[de]``. data: for each pack its revision, hash, licence; and the hash of the rows that were asked. seconds:
    by phase. items: one row per metric, seed and item (id, group, value), for paired tests and slices; answers: what was said and what
    was right, for each item. Both are tables beside the JSON file.
    """

    suite: str
    model: str
    fingerprint: str
    headline: str
    metrics: Mapping[str, Number]
    seeds: tuple[int, ...] = ()
    commit: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1
    seconds: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    items: pa.Table | None = field(default=None, compare=False, repr=False)
    answers: pa.Table | None = field(default=None, compare=False, repr=False)

    @property
    def value(self) -> float:
        """The headline number."""
        return self.metrics[self.headline].value

    def to_json(self) -> dict[str, Any]:
        plain = {k: v for k, v in self.__dict__.items() if k not in ("items", "answers")}
        plain["metrics"] = {k: asdict(v) for k, v in self.metrics.items()}
        return {"format": _FORMAT, **plain, "seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Result:
        value = dict(value)
        if value.pop("format", None) != _FORMAT:
            raise ValueError(f"not a pairwright result of format {_FORMAT}: evaluate again with this version")
        try:
            value["metrics"] = {k: Number(**v) for k, v in value["metrics"].items()}
            return cls(**{**value, "seeds": tuple(value["seeds"])})
        except (KeyError, TypeError) as e:
            raise ValueError(f"this result lacks or misnames a field ({e}): evaluate again with this version") from None

    def save(self, folder: str | Path) -> Path:
        """Write ``result.json``, and beside it ``items.parquet`` and ``answers.parquet`` where there are any. Returns the JSON's path."""
        folder = Path(folder)
        for name in ("items", "answers"):
            if (table := getattr(self, name)) is not None:
                with io.atomic(folder / f"{name}.parquet") as tmp:
                    pq.write_table(table, tmp)
        io.write_json(folder / "result.json", self.to_json())
        return folder / "result.json"

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Read what `save` wrote (a folder, or its ``result.json``)."""
        path = Path(folder)
        path = path if path.suffix == ".json" else path / "result.json"
        result = cls.from_json(io.read_json(path))
        beside = {name: path.with_name(f"{name}.parquet") for name in ("items", "answers")}
        tables = {name: pq.read_table(p) for name, p in beside.items() if p.is_file()}
        return cls(**{**result.__dict__, **tables})

    def to_clip_benchmark(self) -> dict[str, Any]:
        """The record that CLIP_benchmark writes and its `build` step reads (values only)."""
        task = "zeroshot_retrieval" if "retrieval" in self.headline else "zeroshot_classification"
        plain = {k: v.value for k, v in self.metrics.items() if "[" not in k}
        return {
            "dataset": self.suite,
            "model": self.model,
            "pretrained": self.fingerprint,
            "task": task,
            "metrics": plain,
            "language": "en",
        }

    def against(self, other: Result, metric: str | None = None) -> Difference:
        """How much better `self` is than `other` on the same items: difference with interval, and paired tests (see intervals.compare)."""
        metric = metric or self.headline
        if self.suite != other.suite or self.data.get("hash") != other.data.get("hash"):
            raise ValueError(f"two results compare on the same questions only: {self.suite} and {other.suite} asked different rows")
        mine, theirs = _per_item(self, metric), _per_item(other, metric)
        if mine.keys() != theirs.keys():
            raise ValueError(f"the items of {metric} differ between the two results: evaluate both with the same version, seeds and shots")
        keys = sorted(mine)
        return compare([theirs[k][0] for k in keys], [mine[k][0] for k in keys], [mine[k][1] for k in keys])


def _per_item(result: Result, metric: str) -> dict[str, tuple[float, str]]:
    """id -> (value, group); the mean where an item was asked under several seeds."""
    if result.items is None:
        raise ValueError("this result came without items.parquet: load it from the folder that evaluate saved")
    table = result.items.filter(pc.equal(result.items["metric"], metric))
    if len(table) == 0:
        raise ValueError(f"no items for {metric!r}; there are {', '.join(sorted(set(result.items['metric'].to_pylist())))}")
    mean = table.group_by(["id", "group"]).aggregate([("value", "mean")]).to_pylist()
    return {row["id"]: (row["value_mean"], row["group"]) for row in mean}
