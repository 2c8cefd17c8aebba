"""Contests: the same draws for all, failures listed, resumption after a kill, and odd or bad data."""

from __future__ import annotations

import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest
import torch

from pairwright.core.features import EncoderMismatch, Features
from pairwright.data.world.simulate import simulate
from pairwright.evaluate.contest import contest
from pairwright.evaluate.methods import ZERO_SHOT, Method, select
from pairwright.evaluate.problem import problem_of
from pairwright.evaluate.trials import Notebook, Trial, pack, unpack

SIM = simulate(0, classes=5, shots=8, width=16, test_per_class=6)
QUICK = ("zero-shot classifier", "gda", "tip_adapter", "logistic")


def problem(train: Features = SIM.train, test: Features = SIM.test):
    return problem_of(train, SIM.text, test)


class _Counted:
    """Nearest class text; counts its fits and can be told to die at one of them."""

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    fits: ClassVar[list[tuple[str, ...]]] = []
    die_at: ClassVar[int] = -1
    error: ClassVar[BaseException] = KeyboardInterrupt()

    def fit(self, train, text, *, val=None):
        if len(_Counted.fits) == _Counted.die_at:
            raise _Counted.error
        _Counted.fits.append(train.ids)
        self.W_CD = text.W_CD + 0.1 * torch.stack([train.z[train.y == c].sum(0) for c in range(len(text))])
        return self

    def logits(self, x):
        return x.z_ND @ self.W_CD.T


@pytest.fixture(autouse=True)
def _fresh():
    _Counted.fits, _Counted.die_at, _Counted.error = [], -1, KeyboardInterrupt()


COUNTED = Method("counted", "counted", _Counted, "head", _Counted.needs)


def scores(found):
    return {t.key: t.scores[""].tolist() for t in found.trials}


def test_a_killed_contest_goes_on_and_ends_as_if_it_had_not_been_killed(tmp_path):
    ask = lambda out: contest(problem(), [COUNTED, *select(only=QUICK[:2])], shots=(1, 2), seeds=(0, 1, 2), out=out)
    whole = scores(ask(None))
    fits = list(_Counted.fits)
    _Counted.fits, _Counted.die_at = [], 4
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path)
    with (tmp_path / "trials.jsonl").open("a") as f:
        f.write('{"method": "counted", "shots": 2, "se')  # the kill came in the middle of a line
    _Counted.die_at = -1
    assert scores(ask(tmp_path)) == whole
    assert _Counted.fits == fits  # four before the kill, the others after it, none twice
    assert scores(ask(tmp_path)) == whole
    assert _Counted.fits == fits
    more = contest(problem(), [COUNTED], shots=(1, 2, 4), seeds=(0, 1, 2), out=tmp_path)
    assert len(_Counted.fits) == len(fits) + 3
    assert len(more.trials) == 9


def test_a_folder_of_another_comparison_is_refused(tmp_path):
    contest(problem(), [COUNTED], shots=(1,), seeds=(0,), out=tmp_path)
    with pytest.raises(ValueError, match=r"tuned was False, is True"):
        contest(problem(), [COUNTED], shots=(1,), seeds=(0,), tuned=True, out=tmp_path)
    with pytest.raises(ValueError, match=r"rows was .* give another one"):
        contest(problem(test=SIM.test.rows(range(9))), [COUNTED], shots=(1,), seeds=(0,), out=tmp_path)


@pytest.mark.parametrize(
    ("error", "where"), [(RuntimeError("broke"), "failed"), (ValueError("needs two shots"), "left_out"), (MemoryError(), "failed")]
)
def test_one_that_fails_is_listed_and_the_others_go_on(error, where, tmp_path):
    _Counted.error, _Counted.die_at = error, 0
    found = contest(problem(), [COUNTED, *select(only=QUICK[:2])], shots=(1, 2), seeds=(0, 1), out=tmp_path)
    said = getattr(found, where)["counted"]
    assert said.startswith("at 1 shots")
    assert (str(error) or "MemoryError") in said
    assert {t.method for t in found.trials} == {ZERO_SHOT, "heads/linear/gda"}
    _Counted.die_at = -1
    again = contest(problem(), [COUNTED], shots=(1, 2), seeds=(0, 1), out=tmp_path)
    assert len(again.trials) == 4
    assert not again.failed


def test_every_method_gets_the_same_rows_and_those_without_shots_run_once():
    other = dataclasses.replace(COUNTED, id="other")
    found = contest(problem(), [COUNTED, other, *select(only=QUICK[:1])], shots=(2, 1), seeds=(3, 4))
    assert _Counted.fits[:4] == _Counted.fits[4:]
    assert [t.key for t in found.trials if t.method == ZERO_SHOT] == [(ZERO_SHOT, 0, 3)]
    assert found.shots == (1, 2)
    with pytest.raises(ValueError, match="at least one"):
        contest(problem(), [COUNTED], shots=(), seeds=(0,))


def test_tuned_says_who_chose_on_val():
    seen = []

    class Chooser(_Counted):
        def fit(self, train, text, *, val=None):
            seen.append((train, val))
            return super().fit(train, text)

    class Plain(_Counted):
        def fit(self, train, text):
            return super().fit(train, text)

    both = [Method("c", "c", Chooser, "head", Chooser.needs), Method("p", "p", Plain, "head", Plain.needs)]
    tuned = contest(problem(), both, shots=(2,), seeds=(0,), tuned=True)
    assert {t.method: t.chosen for t in tuned.trials} == {"c": "val", "p": "defaults"}
    train, val = seen[0]
    assert torch.bincount(val.y).tolist() == torch.bincount(train.y).tolist() == [2] * 5
    assert not set(val.ids) & set(train.ids)
    plain = contest(problem(), both, shots=(2,), seeds=(0,))
    assert {t.chosen for t in plain.trials} == {"defaults"}
    assert seen[1][1] is None


def rows(*labels: int) -> Features:
    """One training row of each of these classes."""
    pick, used = [], dict.fromkeys(range(5), 0)
    for c in labels:
        pick.append((SIM.train.y == c).nonzero().squeeze(1).tolist()[used[c]])
        used[c] += 1
    return SIM.train.rows(pick)


@pytest.mark.parametrize(
    "train",
    [rows(0, 0, 1, 2, 4), rows(3), rows(0, 1, 2), rows(2, 2, 2, 2), rows(0, 1, 2, 3, 4)],
    ids=["a class without a row", "one row", "more classes than rows", "all the same label", "one of each"],
)
def test_odd_data_give_scores_or_a_reason_but_never_an_end(train):
    found = contest(problem(train), select(only=QUICK), shots=(1, 4), seeds=(0,))
    assert not found.failed
    done = {t.method for t in found.trials}
    assert {ZERO_SHOT, "heads/linear/gda", "heads/cache/tip_adapter"} <= done
    for t in found.trials:
        assert np.isfinite(t.scores[""]).all()
        assert t.scores[""].min() >= 0
        assert t.scores[""].max() <= 1


def test_bad_data_are_refused_with_the_reason():
    bad = SIM.train.z.clone()
    bad[3, 0] = float("nan")
    found = contest(problem(dataclasses.replace(SIM.train, z_ND=bad)), select(only=QUICK), shots=(8,), seeds=(0,))
    assert "NaN" in found.left_out["heads/linear/gda"]
    asked = SIM.test.z.clone()
    asked[0] = float("nan")
    found = contest(problem(test=dataclasses.replace(SIM.test, z_ND=asked)), select(only=QUICK), shots=(8,), seeds=(0,))
    assert "NaN" in found.left_out[ZERO_SHOT]
    with pytest.raises(EncoderMismatch):
        problem(dataclasses.replace(SIM.train, encoder="another"))
    with pytest.raises(ValueError, match="class 5 of some rows is not among the 5 candidates"):
        problem(test=dataclasses.replace(SIM.test, y_N=SIM.test.y + 1))
    strange = dataclasses.replace(SIM.train, y_N=SIM.train.y + 1)
    with pytest.raises(ValueError, match="class 5 of the rows to learn from is not among the 5 classes"):
        problem(strange)


def test_scores_on_disk_are_the_scores():
    values = np.array([0, 1, 0.5, 1 / 3])
    assert unpack(pack(values)).tolist() == values.astype(np.float32).tolist()
    assert len(pack(np.ones(10_000))) < 200


def test_the_notebook_is_plain_json_lines(tmp_path):
    Notebook({"a": 1}, tmp_path).add(Trial("m", 1, 0, scores={"": np.ones(3)}))
    first, second = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert json.loads(first) == {"plan": {"a": 1}}
    assert json.loads(second)["method"] == "m"


def test_selection_is_by_any_name_and_misspellings_are_answered():
    assert [m.id for m in select(only=["Tip-Adapter", "GDA"])] == [ZERO_SHOT, "heads/cache/tip_adapter", "heads/linear/gda"]
    assert {m.face for m in select(["heads", "prompts"])} >= {"head", "prompt"}
    with pytest.raises(ValueError, match="did you mean heads"):
        select(["haeds"])
    with pytest.raises(ValueError, match="did you mean tip_adapter"):
        select(only=["tip_adaptor"])


def test_several_processes_find_what_one_finds_and_list_what_fails(tmp_path):
    methods = [*select(only=QUICK), *select(["heads/cache"], ["mixed_keys"])]  # zero-shot is in both
    alone = contest(problem(), methods, shots=(1, 2), seeds=(0, 1))
    spread = contest(problem(), methods, shots=(1, 2), seeds=(0, 1), out=tmp_path, workers=2)
    assert [t.key for t in spread.trials] == [t.key for t in alone.trials]
    for one, other in zip(spread.trials, alone.trials, strict=True):
        np.testing.assert_allclose(one.scores[""], other.scores[""], atol=1e-6)
    assert dict(spread.left_out) == dict(alone.left_out)
    asked = problem()
    for workers in (2, 2, 1):  # an exam is marked once, whoever marked it
        once_more = contest(asked, methods[:2], shots=(1,), seeds=(0,), workers=workers)
        assert bool(once_more.trials) == (workers == 2 and not once_more.left_out)
    assert "marked once" in next(iter(once_more.left_out.values()))
    again = contest(problem(), methods, shots=(1, 2), seeds=(0, 1), out=tmp_path, workers=2)
    assert [t.key for t in again.trials] == [t.key for t in alone.trials]
