"""Each setting by hand: which rows are learned from, what is asked among what, and how scores are put together."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from pairwright.cli.commands.bench_methods import bench_methods
from pairwright.core.features import ClassText, Features
from pairwright.evaluate.contest import Lessons, contest
from pairwright.evaluate.methods import Method
from pairwright.evaluate.problem import Pool
from pairwright.evaluate.settings import AVERAGE, FORGETTING, HARMONIC, OTHERS, SETTINGS, Part, make
from pairwright.metrics.harmonic import harmonic_mean

C, D = 6, 8
NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")


def part(name: str = "one", names: tuple[str, ...] = NAMES, per_class: int = 4, seed: int = 0) -> Part:
    """Rows of random features; half of each class's groups are for learning."""
    g = torch.Generator().manual_seed(seed)
    rows = lambda side: Features.of(
        torch.randn(len(names) * per_class, D, generator=g),
        torch.arange(len(names)).repeat(per_class),
        ids=[f"{name}/{side}{i}" for i in range(len(names) * per_class)],
    )
    groups = lambda side: [f"{side}{i}" for i in range(len(names) * per_class)]
    text = ClassText(torch.nn.functional.normalize(torch.randn(len(names), D, generator=g), dim=1), names)
    return Part(name, text, Pool.of(rows("learn")), groups("learn"), rows("asked"), groups("asked"))


class _Memory:
    """Knows the names of its text, and is right on a row only if its class was in the last rows it was fitted on."""

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    log: ClassVar[list[tuple[tuple[str, ...], list[int]]]] = []

    def fit(self, train, text, *, val=None):
        self.text = text
        self.known = sorted(set(train.y.tolist()))
        _Memory.log.append((text.names, self.known))
        return self

    def logits(self, x):
        score_NC = x.z_ND @ self.text.W_CD.T
        score_NC[:, [c for c in range(len(self.text)) if c not in self.known]] -= 9
        return score_NC


def slow_accuracy(p: Part, learned: set[int], asked: list[int], among: list[int]) -> float:
    right = []
    for z, y in zip(p.asked.z, p.asked.y.tolist(), strict=True):
        if y in asked:
            scores = {c: float(z @ p.text.W_CD[c]) - 9 * (c not in learned) for c in among}
            right.append(max(scores, key=scores.__getitem__) == y)
    return float(np.mean(right))


def run(problem):
    _Memory.log = []
    (trial,) = contest(problem, [Method("m", "m", _Memory, "head", _Memory.needs)], shots=(2,), seeds=(0,)).trials
    assert trial.outcome == "done", trial.why
    return {n: float(s.mean()) for n, s in trial.scores.items()}


def test_base_to_new_by_hand():
    p = part()
    problem = make("base-to-new", p)
    base, new = (list(e.classes) for e in problem.exams)
    assert sorted(base + new) == list(range(C))
    assert len(base) == len(new) == C // 2
    found = run(problem)
    assert [sorted(r) for _, r in _Memory.log] == [base]  # shots of base alone
    assert found["base"] == pytest.approx(slow_accuracy(p, set(base), base, base))
    assert found["new"] == pytest.approx(slow_accuracy(p, set(base), new, new))
    h = problem.derive(found)[HARMONIC]
    assert h == pytest.approx(2 / (1 / found["base"] + 1 / found["new"]) if min(found.values()) else 0.0)
    assert problem.lead == HARMONIC


def test_base_classes_follow_from_names_not_from_their_order():
    names = {n: side.name for side in make("base-to-new", part()).exams for n in (NAMES[c] for c in side.classes)}
    turned = part(names=NAMES[::-1])
    assert {NAMES[::-1][c]: e.name for e in make("base-to-new", turned).exams for c in e.classes} == names


def test_harmonic_mean_by_hand():
    assert harmonic_mean(0.5, 1.0) == pytest.approx(2 / 3)
    assert harmonic_mean(0, 0) == 0
    assert harmonic_mean(0.9, 0) == 0
    assert harmonic_mean([0.2, 0.4], [0.2, 0.1]).tolist() == pytest.approx([0.2, 0.16])
    with pytest.raises(ValueError, match="not negative"):
        harmonic_mean(-0.1, 1)


def test_cross_asks_the_other_suites_own_classes():
    one, two, three = part(), part("two", ("gnu", "hen"), seed=1), part("three", ("ant", "owl", "pig"), seed=2)
    problem = make("cross", one, [two, three])
    own, second, third = problem.exams
    assert (own.classes, second.classes, third.classes) == (tuple(range(6)), (6, 7), (8, 9, 10))
    assert [problem.text.names[c] for c in third.classes] == ["ant", "owl", "pig"]
    assert torch.equal(problem.text.W_CD[8:], three.text.W_CD)
    assert second.mark("r", two.asked.z @ two.text.W_CD.T).mean() == pytest.approx(slow_accuracy(two, {0, 1}, [0, 1], [0, 1]))
    found = run(problem)
    assert _Memory.log[0][1] == list(range(6))
    assert problem.lead == OTHERS
    assert problem.derive(found)[OTHERS] == pytest.approx((found["two"] + found["three"]) / 2)
    assert make("cross", one, [two]).lead == "two"


def test_cross_pads_prompts_of_different_numbers():
    with_prompts = lambda p, n: replace(p, text=replace(p.text, prompts_CPD=torch.ones(len(p.text), n, D)))
    text = make("cross", with_prompts(part(), 3), [with_prompts(part("two", ("gnu",)), 2)]).text
    assert text.prompts_CPD.shape == (7, 3, D)
    assert not text.prompts_CPD[6, 2].any()
    assert make("cross", with_prompts(part(), 3), [part("two", ("gnu",))]).text.prompts_CPD is None


def test_shift_keeps_shared_classes_and_unseen_concepts():
    one, two = part(), part("two", ("Bee", "yak", "ANT"), seed=1)
    two = replace(two, groups=["learn1", *two.groups[1:]])  # the first row (a bee) shows a concept of the shots
    exam = make("shift", one, [two]).exams[1]
    rows = [i for i, y in enumerate(two.asked.y.tolist()) if y != 1 and i != 0]
    assert list(exam.x.ids) == [two.asked.ids[i] for i in rows]
    truth = [{0: 1, 2: 0}[two.asked.y[i].item()] for i in rows]  # bee is class 1 there, ant class 0
    assert exam.mark("r", torch.nn.functional.one_hot(torch.tensor(truth), C).float()).mean() == 1
    with pytest.raises(ValueError, match="has no rows of the classes"):
        make("shift", one, [part("two", ("yak",))])


def test_sessions_by_hand():
    p = part()
    problem = make("sessions", p, sessions=3)
    parts = [list(s.learn) for s in problem.steps]
    assert sorted(c for p in parts for c in p) == list(range(C))
    found = run(problem)
    seen = []
    A = np.full((3, 3), np.nan)
    for t, new in enumerate(parts):
        seen = sorted(seen + new)
        names, learned = _Memory.log[t]
        assert names == tuple(NAMES[c] for c in seen)  # text of what has come, nothing of the future
        assert [seen[c] for c in learned] == new
        for s in range(t + 1):
            A[t, s] = slow_accuracy(p, set(new), parts[s], seen)
            assert found[f"after {t + 1}: session {s + 1}"] == pytest.approx(A[t, s])
    more = problem.derive(found)
    after = [np.nanmean(A[t]) for t in range(3)]  # sessions are of equal size here
    assert [more[f"after {t + 1}"] for t in range(3)] == pytest.approx(after)
    assert more[AVERAGE] == pytest.approx(np.mean(after))
    assert more[FORGETTING] == pytest.approx(np.mean([max(A[0, 0], A[1, 0]) - A[2, 0], A[1, 1] - A[2, 1]]))
    assert A[0, 0] > A[1, 0] == 0  # this learner forgets everything
    with pytest.raises(ValueError, match="cannot be dealt into 7"):
        make("sessions", p, sessions=7)


def test_unlabelled_rows_carry_no_labels_and_labelled_methods_say_so():
    problem = make("unlabelled", part())
    found = contest(problem, [Method("m", "m", _Memory, "head", _Memory.needs)], shots=(1,), seeds=(0,))
    assert found.left_out == {"m": "needs labels; this setting gives none"}
    seen = []

    class Learner:
        def class_text(self): ...
        def fit(self, model, names, train):
            seen.append(train)

        def text(self, model, names):
            return problem.text

    assert contest(replace(problem, model=object()), [Method("l", "l", Learner, "prompt", frozenset())], shots=(2,), seeds=(0,)).trials
    assert seen[0].y_N is None
    assert len(seen[0]) == 2 * C


def test_transductive_methods_see_all_questions_at_once_and_only_there():
    p = part()

    class Whole:
        def fit_logits(self, x, text):
            assert x.y_N is None
            assert len(x) == len(p.asked)
            return x.z_ND @ text.W_CD.T

    method = Method("w", "w", Whole, "transductive", frozenset({"text"}))
    found = contest(make("transductive", p), [method], shots=(1,), seeds=(0, 1))
    assert [t.key for t in found.trials] == [("w", 0, 0)]
    assert found.trials[0].scores[""].mean() == pytest.approx(slow_accuracy(p, set(range(C)), list(range(C)), list(range(C))))
    assert "transductive" in contest(make("shots", p), [method], shots=(1,), seeds=(0,)).left_out["w"]


def test_streams_meet_rows_one_by_one_in_the_order_of_the_seed():
    p, orders = part(), []

    class Stream:
        def reset(self):
            orders.append([])

        def step(self, views_AD):
            orders[-1].append(tuple(views_AD[0].tolist()))
            return views_AD[0] @ p.text.W_CD.T

    method = Method("s", "s", Stream, "stream", frozenset({"text"}))
    found = contest(make("transductive", p), [method], shots=(1,), seeds=(0, 1))
    assert {t.scores[""].mean() for t in found.trials} == {slow_accuracy(p, set(range(C)), list(range(C)), list(range(C)))}
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(map(tuple, p.asked.z.tolist()))


def test_a_head_without_class_names_is_not_asked_about_new_classes():
    probe = Method("probe", "probe", _Memory, "head", frozenset({"train"}))
    assert "reads no class names" in probe.why_not(make("base-to-new", part()))
    assert probe.why_not(make("shots", part())) == ""
    assert probe.why_not(make("shift", part(), [part("two", seed=1)])) == ""


@pytest.mark.parametrize(
    ("setting", "others", "complaint"),
    [
        ("shot", [], "did you mean shots"),
        ("nonsense!", [], "choose from shots"),
        ("cross", [], "--to SUITE"),
        ("shots", [part("two")], "leave out --to"),
        ("shift", [part("two"), part("two")], "two is named twice"),
        ("cross", [part("one")], "one is named twice"),
    ],
)
def test_wrong_settings_are_refused_with_the_fix(setting, others, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(setting, part(), others)


@pytest.mark.parametrize("setting", SETTINGS)
def test_shots_are_nested_disjoint_from_val_and_the_same_everywhere(setting):
    others = [part("two", seed=1)] if setting in ("cross", "shift") else []
    problem = make(setting, part(), others, sessions=2)
    lessons, again = (Lessons(problem, (1, 2), (0, 1), tuned=True) for _ in range(2))
    for seed in (0, 1):
        one, val = lessons(1, seed, problem.steps[0].learn)
        two, _ = lessons(2, seed, problem.steps[0].learn)
        assert set(one.ids) < set(two.ids)
        assert not set(one.ids) & set(val.ids)
        assert set(one.y.tolist()) == set(problem.steps[0].learn)
        assert again(1, seed, problem.steps[0].learn)[0].ids == one.ids


def test_the_documentation_and_the_help_name_every_setting():
    page = Path(__file__).parents[2].joinpath("docs", "protocol.md").read_text()
    told = inspect.signature(bench_methods).parameters["setting"].annotation
    for name in SETTINGS:
        assert f"\n| `{name}` |" in page
        assert name in told
