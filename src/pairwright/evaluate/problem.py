"""A problem for methods: rows to draw shots from, class text, and sealed exams. Built by `protocol` and `settings`, or from features.

A method is shown `Exam.x`, which carries no labels; the truth stays in the exam, which marks each run's answers once. So no method can read
a test label, and no run can try several answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairwright.core.features import ClassText, Features, check_same_encoder
from pairwright.metrics.topk_accuracy import topk_accuracy

Values = Mapping[str, Any]
"""Exam name -> its score: a number for each method, or an array of them (draws of a bootstrap)."""


class Exam:
    """Rows of unknown label and the classes to choose from.

    name: ``""`` where it is the only one. x: rows; their labels are taken off and kept here. classes: numbers of the candidate classes.
    group_N: rows that share luck. mark(run, logits) returns the score of each row, once for each run.
    """

    def __init__(self, name: str, x: Features, classes: Sequence[int], group_N: Sequence[str]) -> None:
        if x.y_N is None or not len(x):
            raise ValueError(f"exam {name!r} needs labelled rows to be marked against, got {len(x)} rows{', unlabelled' * (x.y_N is None)}")
        place = {c: j for j, c in enumerate(classes)}
        if strange := sorted({c for c in x.y_N.tolist() if c not in place}):
            raise ValueError(f"exam {name!r}: class {strange[0]} of some rows is not among the {len(place)} candidates")
        self.name, self.classes, self.group_N = name, tuple(classes), tuple(group_N)
        self.x = replace(x, y_N=None, classes=())
        self._truth_N = torch.tensor([place[c] for c in x.y_N.tolist()])
        self._marked: set[object] = set()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def chance(self) -> float:
        return 1 / len(self.classes)

    def mark(self, run: object, logits_NC: Tensor) -> NDArray[np.float64]:
        """One score in [0, 1] per row: is the true class the highest? (Ties share the point.) A second answer of a run is refused."""
        if run in self._marked:
            raise ValueError(f"{run} has answered exam {self.name!r} already: an exam is marked once, so that nothing is chosen on it")
        if tuple(logits_NC.shape) != (len(self), len(self.classes)):
            raise ValueError(
                f"answers have the shape {tuple(logits_NC.shape)}; {len(self)} rows and {len(self.classes)} classes were asked"
            )
        score_N = topk_accuracy(logits_NC, self._truth_N, items=True)
        self.close(run)
        return score_N

    def close(self, run: object) -> None:
        """Note that a run has been marked, here or on a copy of this exam in another process."""
        self._marked.add(run)


@dataclass(frozen=True)
class Pool:
    """Rows that shots are drawn from: labels (class numbers), ids, and what embeds the rows that were drawn (row numbers -> Features)."""

    label_N: Sequence[int]
    id_N: Sequence[str]
    features: Callable[[Sequence[int]], Features]

    @classmethod
    def of(cls, f: Features) -> Pool:
        """A pool of features that are there already."""
        if f.y_N is None:
            raise ValueError("shots are drawn class by class: these features have no labels")
        return cls(f.y_N.tolist(), f.ids, f.rows)


@dataclass(frozen=True)
class Step:
    """One round: learn from rows of some classes, knowing the names of `known`, then sit exams. Most problems have one step."""

    learn: tuple[int, ...]
    known: tuple[int, ...]
    exams: tuple[Exam, ...]


@dataclass(frozen=True)
class Problem:
    """What methods are compared on.

    name: of the suite(s). setting: a name of `settings.SETTINGS`. text: of all classes, in the order of their numbers. pool: labelled rows.
    steps: rounds. model: for methods that learn inside a tower (None: they cannot run). pictures: ids -> preprocessed images, for those
    that learn inside the image tower. labels: whether shots come with labels.
    whole_test: whether a method may look at all rows of an exam at once. derive: further scores from those of the exams, such as a harmonic
    mean. lead: the score that leads (an exam's name or a derived one). facts: where the data come from.
    """

    name: str
    setting: str
    text: ClassText
    pool: Pool
    steps: tuple[Step, ...]
    model: Any = None
    pictures: Callable[[Sequence[str]], Tensor] | None = None
    labels: bool = True
    whole_test: bool = False
    derive: Callable[[Values], Values] = field(default=lambda values: {})
    lead: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if strange := sorted({c for c in self.pool.label_N if not 0 <= c < len(self.text)}):
            raise ValueError(f"class {strange[0]} of the rows to learn from is not among the {len(self.text)} classes: map labels first")

    @property
    def exams(self) -> list[Exam]:
        return [e for s in self.steps for e in s.exams]

    def without_model(self) -> Problem:
        """What methods on features need of it and what can be sent to another process."""
        return replace(self, model=None, pictures=None, pool=Pool((), (), nobody), derive=dict)


def nobody(rows: Sequence[int]) -> Features:
    """Embeds no row: stands where there is no model."""
    raise ValueError("rows can only be embedded where the model is")


def problem_of(train: Features, text: ClassText, test: Features, groups: Sequence[str] = (), **more: Any) -> Problem:
    """A few-shot problem from features: shots of `train`, all classes of `text`, one exam on `test`."""
    check_same_encoder(train, text, test)
    every = tuple(range(len(text)))
    step = Step(every, every, (Exam("", test, every, groups or test.ids),))
    return Problem(**{"name": "features", "setting": "shots", "text": text, "pool": Pool.of(train), "steps": (step,), **more})
