"""Sealed exams: no method can reach a test label, no run answers twice, and what cannot be an exam is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from pairwright.core.features import EncoderMismatch, Features
from pairwright.data.world.simulate import simulate
from pairwright.evaluate.contest import contest
from pairwright.evaluate.methods import Method
from pairwright.evaluate.problem import Exam, Pool, problem_of

SIM = simulate(0, classes=5, shots=6, width=16, test_per_class=7)


def reachable(x: Any, seen: set[int]) -> Iterator[Any]:
    """Every object that Python code holding `x` can get at through attributes, items and closures."""
    if id(x) in seen:
        return
    seen.add(id(x))
    yield x
    if isinstance(x, dict):
        inner = [*x.keys(), *x.values()]
    elif isinstance(x, list | tuple | set):
        inner = list(x)
    else:
        inner = list(vars(x).values()) if hasattr(x, "__dict__") and not isinstance(x, type | torch.Tensor) else []
    for y in inner:
        yield from reachable(y, seen)


class _Peeker:
    """Looks for the test labels in everything it is handed."""

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    handed: ClassVar[list[Any]] = []

    def fit(self, train, text, *, val=None):
        _Peeker.handed += [train, text, val]
        self.classes = len(text)
        return self

    def logits(self, x):
        _Peeker.handed.append(x)
        y_N = x.y_N if x.y_N is not None else torch.zeros(len(x), dtype=torch.int64)
        return torch.nn.functional.one_hot(y_N, self.classes).float()


def test_a_method_that_peeks_finds_no_test_label():
    _Peeker.handed = []
    peeker = Method("peeker", "peeker", _Peeker, "head", _Peeker.needs)
    found = contest(problem_of(SIM.train, SIM.text, SIM.test), [peeker], shots=(2,), seeds=(0,), tuned=True)
    assert found.trials[0].scores[""].mean() == pytest.approx(1 / 5)  # it answered class 0 throughout
    truth = SIM.test.y
    objects = list(reachable(_Peeker.handed, set()))
    assert any(isinstance(o, Features) and len(o) == len(SIM.test) for o in objects)
    for o in objects:
        if isinstance(o, torch.Tensor) and o.shape == truth.shape:
            assert not torch.equal(o.to(truth.dtype), truth)
        if isinstance(o, Features) and len(o) == len(SIM.test):
            assert o.y_N is None
            assert not o.side
            assert not o.classes
    held = [o for o in _Peeker.handed if isinstance(o, Features) and o.y_N is not None]
    assert not {i for f in held for i in f.ids} & set(SIM.test.ids)


def test_marks_by_hand_and_only_once():
    x = Features(torch.eye(4), [2, 5, 5, 2], ids=("a", "b", "c", "d"))
    exam = Exam("e", x, [5, 2], ["g", "g", "h", "h"])
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # right, wrong, right, a tie of two
    assert exam.mark("first", logits).tolist() == [1, 0, 1, 0.5]
    assert exam.chance == 0.5
    with pytest.raises(ValueError, match="marked once"):
        exam.mark("first", logits)
    assert exam.mark("second", -logits).tolist() == [0, 1, 0, 0.5]
    with pytest.raises(ValueError, match="4 rows and 2 classes were asked"):
        exam.mark("third", logits[:3])
    with pytest.raises(ValueError, match="NaN"):
        exam.mark("fourth", logits * float("nan"))


def test_what_is_no_exam_is_refused():
    with pytest.raises(ValueError, match="class 4 of some rows is not among the 2 candidates"):
        Exam("e", Features(torch.eye(2), [0, 4]), [0, 1], "ab")
    with pytest.raises(ValueError, match="needs labelled rows"):
        Exam("e", Features(torch.eye(2)), [0, 1], "ab")
    with pytest.raises(ValueError, match="needs labelled rows"):
        Exam("e", Features(torch.eye(2)[:0], []), [0, 1], "")
    with pytest.raises(ValueError, match="have no labels"):
        Pool.of(SIM.pool)
    with pytest.raises(EncoderMismatch):
        problem_of(SIM.train, SIM.text, dataclasses.replace(SIM.test, encoder="another"))
    with pytest.raises(EncoderMismatch):
        problem_of(Features(SIM.train.z[:, :8], SIM.train.y), SIM.text, SIM.test)
