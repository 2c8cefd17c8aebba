"""What a budget leaves out: pictures in turn by class, not read and not embedded, and candidates whose next fold does not fit."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.features import Features
from pairwright.data.world.simulate import simulate
from pairwright.models.tiny import tiny
from pairwright.recipes.adapt import alike, pictures
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.kinds import OneOf
from pairwright.recipes.adapt.nested import Plan, start
from pairwright.recipes.adapt.pictures import embedded
from pairwright.recipes.adapt.portfolio import ZERO_SHOT, Candidate
from pairwright.recipes.adapt.problem import Problem, read_problem
from pairwright.recipes.adapt.run import adapt
from pairwright.recipes.adapt.survey import in_turn, survey
from tests.recipes.test_adapt_data import COLOURS, draw


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))
    for name, colour in COLOURS.items():
        for k in range(4):
            draw(tmp_path / "data" / name / f"{k}.png", colour, k)
    return tmp_path / "data"


def twin():
    return tiny(0, image="vit", size=16, width=32, dim=16, layers=1, vocab=256, context=12)


def test_rows_come_in_turn_by_class_then_test_rows_then_the_others():
    y, test = torch.tensor([0, 0, 0, 1, 1, -1, 0, 1]), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]).bool()
    order = in_turn(Problem([None] * 8, list("abcdefgh"), ("x", "y"), y, test))
    assert sorted(order) == list(range(8))
    assert [y[i].item() for i in order] == [0, 1, 0, 1, 0, 0, 1, -1]
    assert set(order[5:7]) == {6, 7}


def test_what_there_is_no_time_to_read_or_embed_is_left_out_evenly_and_said(folder, monkeypatch):
    monkeypatch.setattr(alike, "_AT_ONCE", 9)
    ended = Clock(0.0)
    seen = survey(read_problem(folder), clock=ended)
    assert ended.cut
    assert seen.problem.y.bincount().tolist() == [3, 3, 3]
    assert "no time to look at 3 of 12 images" in seen.problem.notes[-1]
    monkeypatch.setattr(pictures, "FIRST", 6)
    ended = Clock(0.0)
    kept, z = embedded(twin(), seen, folder, ended)
    assert ended.cut
    assert kept.problem.y.bincount().tolist() == [2, 2, 2]
    assert len(z) == len(kept.looks) == len(kept.group_N) == 6
    assert "no time to embed 3 of 9 images" in kept.problem.notes[-1]
    whole, z_ND = embedded(twin(), seen, folder, Clock(1e9))
    at = [whole.problem.ids.index(i) for i in kept.problem.ids]
    torch.testing.assert_close(z_ND[at], z)  # a cut leaves rows out, and moves none


def test_a_second_gives_zero_shot_and_says_so(folder):
    out = adapt(twin(), folder, budget=1.0)
    assert [m.id for m in out.learned.committee.members] == [ZERO_SHOT]
    assert any("too short for a search: this is zero-shot" in n for n in out.notes)


def test_a_fold_is_not_begun_if_the_last_one_says_that_it_will_not_fit(monkeypatch):
    sim, now = simulate(0, classes=4, shots=6, width=16), Hand()
    fit = Candidate.fit

    def slow(self, train: Features, text):
        now.now += 3.0 if self.slow else 0.1
        return fit(self, train, text)

    monkeypatch.setattr(Candidate, "fit", slow)
    plan = Plan([Candidate(ZERO_SHOT, "zero-shot", {}), Candidate("heads/linear/gda", "GDA", {}, slow=True)], OneOf())
    clock = Clock(10.0, now)
    found = start(plan, sim.train, sim.text, list(range(24))).run(clock)
    assert found.trials[1].state == "no time"
    assert clock.cut
    assert now.now <= 10.0
