"""What a tuned model forgot: zero-shot accuracy on a reference that has nothing to do with the user's classes, before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from pairwright.core.numerics import seed_of
from pairwright.data import packs
from pairwright.evaluate.intervals import Difference
from pairwright.evaluate.protocol import evaluate
from pairwright.evaluate.result import Number
from pairwright.suites import table
from pairwright.suites.suite import Questions, Suite

REFERENCES = ("emoji-subgroup", "icons-flat-color")
"""Suites that are asked where their pack is on this machine; nothing is downloaded for this."""
MOST = 500
"""Pictures that are asked."""
_WORLD = Suite(
    "world-shapes", "generated things in a natural look: which of 24 shapes", "classify", ("world-natural",), text="label",
    templates=("a {}",), ks=(1,), headline="acc1",
)  # fmt: skip


@dataclass(frozen=True)
class Sample(Suite):
    """A suite of which some pictures are asked, the same ones always, among all of its classes."""

    most: int = MOST

    def ask(self, asked: pa.Table, everything: pa.Table | None = None) -> dict[str, Questions]:
        ids = asked["id"].to_pylist()
        first = sorted(range(len(ids)), key=lambda i: (seed_of("reference", ids[i]), ids[i]))[: self.most]
        return super().ask(asked.take(sorted(first)), everything)


@dataclass(frozen=True)
class Forgot:
    """Zero-shot accuracy (top 1) of the model as it was and as it is, on the same pictures. change: after less before, paired."""

    suite: str
    about: str
    before: Number
    after: Number
    change: Difference

    def to_json(self) -> dict[str, Any]:
        plain = lambda x: {k: v if v is None or isinstance(v, int) else float(v) for k, v in asdict(x).items()}
        return {"suite": self.suite, "about": self.about, **{k: plain(getattr(self, k)) for k in ("before", "after", "change")}}


def reference(most: int = MOST) -> Sample:
    """The first reference suite whose pictures are here, else the generated world."""
    here = (s for s in map(table.get, REFERENCES) if all(packs.is_cached(name) for name in s.data))
    suite = next(here, _WORLD)
    values = {f.name: getattr(suite, f.name) for f in fields(Suite)}
    return Sample(**{**values, "among": "all", "headline": "acc1"}, most=most)


def forgot(before: Any, after: Any, suite: Sample | None = None) -> Forgot:
    """Ask both models the reference. What the first answers is kept on disk for the next time."""
    suite = suite or reference()
    one, two = (evaluate(m, suite, cache=keep) for m, keep in ((before, True), (after, False)))
    return Forgot(suite.name, suite.about, one.metrics["acc1"], two.metrics["acc1"], two.against(one))
