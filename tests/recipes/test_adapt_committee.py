"""Who sits in the committee: a clear winner alone, equals that correct each other together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator
from pairwright.recipes.adapt.committee import SEATS, _near, elect
from pairwright.recipes.adapt.kinds import OneOf
from pairwright.recipes.adapt.portfolio import Candidate
from pairwright.recipes.adapt.search import Search

N, C = 120, 3
Y = torch.arange(N) % C


def searched(*logits_NC: torch.Tensor) -> Search:
    made = Search([Candidate(str(i), str(i), {}) for i in range(len(logits_NC))], Features(torch.eye(N), Y), ClassText(torch.eye(C, N)),
                  np.arange(N) % 4, OneOf())  # fmt: skip
    for t, l in zip(made.trials, logits_NC, strict=True):
        t.logits_NC, t.folds, t.state = l, {0, 1, 2, 3}, "finished"
    return made


def noisy(key: int, noise: float) -> torch.Tensor:
    return torch.nn.functional.one_hot(Y, C) + noise * torch.randn(N, C, generator=generator("committee", key))


def elected(search: Search) -> list[str]:
    return [t.candidate.id for t in elect(search, search.best(), list(range(N)))]


def test_a_clear_winner_sits_alone():
    assert elected(searched(noisy(0, 2.0), noisy(1, 0.2), noisy(2, 2.0))) == ["1"]


def test_equals_with_errors_of_their_own_sit_together_and_are_better_for_it():
    search = searched(*(noisy(k, 0.8) for k in range(6)))
    taken = elect(search, search.best(), list(range(N)))
    assert 1 < len(taken) <= SEATS
    right = lambda trials: float((sum(t.logits_NC.log_softmax(1) for t in trials).argmax(1) == Y).double().mean())
    assert right(taken) > right(search.best()[:1])


def test_a_single_candidate_and_one_that_was_never_asked_sit_alone():
    search = searched(noisy(0, 0.5))
    assert elect(search, search.best(), list(range(N))) == search.trials
    search.trials[0].folds = set()
    assert elect(search, search.trials, list(range(N))) == search.trials


def test_near_is_two_standard_errors_of_the_paired_mean():
    behind = torch.tensor([0.0, 0.1, 0.3, -0.1, 0.2, 0.4], dtype=torch.float64)
    error = float(behind.std()) / 6**0.5
    for shift in (1.9, 2.1):
        assert _near(behind - behind.mean() + shift * error, list(range(6))) == (shift < 2)
    pairs = behind.repeat_interleave(2)  # copies are no further evidence
    for shift in (1.9, 2.1):
        assert _near(pairs - pairs.mean() + shift * error, [i // 2 for i in range(12)]) == (shift < 2)
    assert _near(torch.zeros(4, dtype=torch.float64), [0, 1, 2, 3])
    assert float(behind.mean()) == pytest.approx(0.15)
