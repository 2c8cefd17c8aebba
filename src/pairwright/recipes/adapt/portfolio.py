"""What is tried: heads of the method index with a few settings each, cheapest first, and any method that a user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairwright.core.features import ClassText, Features
from pairwright.core.find import find, score
from pairwright.core.index import Entry, entries

Settings = Mapping[str, Any] | Callable[[Features], Mapping[str, Any]]
_SURE = 0.9
"""A forced method has to be the best answer to its name, or have the name in one of its own; a mere likeness will not do."""
ZERO_SHOT = "heads/zero_shot/classifier"


class NoHead(ValueError):
    """A name is that of no head that would do. head: the one that it means, if any."""

    def __init__(self, why: str, head: Entry | None = None) -> None:
        super().__init__(why)
        self.head = head


@dataclass(frozen=True)
class Candidate:
    """A method with its settings. settings: of the constructor, or a function of the training rows that gives them. slow: its fit takes
    seconds rather than milliseconds."""

    id: str
    label: str
    settings: Settings
    slow: bool = False

    def fit(self, train: Features, text: ClassText) -> Any:
        """A fresh head, fitted."""
        (entry,) = entries(self.id)
        how = self.settings(train) if callable(self.settings) else self.settings
        head = entry.load()(**how)
        return head.fit(train if "train" in head.needs else None, text)


def gda(times: float) -> Callable[[Features], Mapping[str, Any]]:
    """GDA with a multiple of the weight that its rule gives (which grows with the number of rows)."""

    def settings(train: Features) -> Mapping[str, Any]:
        from pairwright.heads.linear.gda import default_alpha

        return {"alpha": times * default_alpha(train.z_ND, train.y_N)}

    return settings


# (id, [(what is said about the settings, settings)], is it slow). Chosen on simulated regimes (bench/adapt.py), seeds 300 and up: each
# row is the best, or near it, in some regime. Cheapest first: what the budget cuts is at the end.
ONE: tuple[tuple[str, Sequence[tuple[str, Settings]], bool], ...] = (
    (ZERO_SHOT, [("", {})], False),
    ("heads/cache/tip_adapter", [(f"alpha {a:g}", {"alpha": a}) for a in (1.0, 10.0, 30.0)], False),
    ("heads/linear/gda", [(f"{t:g} x the rule's weight", gda(t)) for t in (0.3, 1.0, 3.0, 10.0)], False),
    (
        "heads/cache/proker",
        [
            (f"full step, beta {b:g}, ridge {r:g}", {"beta": b, "ridge": r, "strength": 1.0})
            for b, r in ((1.5, 0.1), (1.5, 2.0), (6.0, 0.1), (6.0, 2.0))
        ],
        False,
    ),
    ("heads/cache/ape", [("", {})], False),
    ("heads/linear/logistic", [("", {})], False),
    ("heads/linear/text_residual", [("", {})], True),
    ("heads/linear/class_penalty", [("", {})], True),
    ("heads/transport/lfa", [("", {})], True),
)
ANY: tuple[tuple[str, Sequence[tuple[str, Settings]], bool], ...] = (
    (ZERO_SHOT, [("", {})], False),
    ("heads/linear/one_vs_rest", [(f"{how}penalty {l2:g}", {"l2": l2, "text": text})
                                  for text, how in ((True, ""), (False, "no text, ")) for l2 in (0.1, 1.0, 10.0)], False),
)  # fmt: skip
UNSEEN = (("heads/cache/proker", 0), ("heads/linear/class_penalty", 0), ("heads/transport/lfa", 0))
"""What is joined where nothing but zero-shot can be measured, with one label a class: (id, which of its settings). On simulated regimes of
20 and 60 classes, class text from good to bad, seeds 100 and 101, it is 0.1 points behind the best single candidate in hindsight, and never
more than 1.5."""
CLOSED = frozenset({"heads/linear/logistic"})
"""Heads that never answer with a class without labels: left out where there is one."""


def portfolio(*, multi: bool = False, gaps: bool = False) -> list[Candidate]:
    """All candidates in the order in which they are tried. gaps: some class has no labels."""
    rows = ANY if multi else ONE
    made = [(id_, label, how, slow) for id_, settings, slow in rows for label, how in settings]
    return [_named(*row) for row in made if not (gaps and row[0] in CLOSED)]


def unseen() -> list[Candidate]:
    """The candidates that are taken unmeasured."""
    known = portfolio()
    return [[c for c in known if c.id == id_][which] for id_, which in UNSEEN]


def forced(name: str, *, multi: bool = False) -> list[Candidate]:
    """Zero-shot (to compare with) and the head that a name means to `pairwright find`, with its settings in the portfolio, if any.

    Raises NoHead where it means none, or one that does not take several classes an image.
    """
    known = find(name, 20)
    usable = [e for e in known if e.kind.startswith("heads") and (e is known[0] or score(name, e) >= _SURE) and is_head(e)]
    if not usable:
        raise NoHead(f"there is no classifier head called {name!r}: `pairwright find {name}` shows what goes by that name")
    entry = usable[0]
    rows = [c for c in portfolio(multi=multi) if c.id == entry.id]
    if multi and not rows:
        raise NoHead(f"{entry.card.name} takes one class for each image; with several the method is one_vs_rest", entry)
    zero = [c for c in portfolio(multi=multi) if c.id == ZERO_SHOT and entry.id != ZERO_SHOT]
    return zero + (rows or [_named(entry.id, "", {}, True)])


def is_head(e: Entry) -> bool:
    """Whether a method learns from features and text alone, and answers to features."""
    made = e.load()
    return (
        isinstance(made, type)
        and hasattr(made, "fit")
        and hasattr(made, "logits")
        and set(getattr(made, "needs", "?")) <= {"train", "text"}
    )


def _named(id_: str, label: str, how: Settings, slow: bool) -> Candidate:
    (entry,) = entries(id_)
    name = entry.card.name.partition(" (")[0]
    return Candidate(id_, f"{name}, {label}" if label else name, how, slow)
