"""The sweep against scores that are known in closed form."""

from __future__ import annotations

import pytest
import torch

from pairwright.merge.alpha_sweep import AlphaSweep

BASE, TUNED = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
at = lambda state: float(state["w"][0])


def test_it_finds_the_top_of_the_curve_and_keeps_the_curve():
    sweep = AlphaSweep()
    assert sweep.search(BASE, TUNED, lambda s: -((at(s) - 0.3) ** 2)) == 0.3
    assert [a for a, _ in sweep.curve_] == list(sweep.alphas)
    for a, score in sweep.curve_:
        assert score == pytest.approx(-((a - 0.3) ** 2), abs=1e-6)


def test_without_a_score_it_is_half_way_and_so_is_a_flat_curve():
    assert AlphaSweep().search(BASE, TUNED) == 0.5
    assert AlphaSweep().search(BASE, TUNED, lambda s: 1.0) == 0.5
    assert AlphaSweep().search(BASE, BASE, at) == 0.5  # equal ends: the same model everywhere
    assert AlphaSweep((0.0, 1.0)).search(BASE, TUNED, at) == 1.0


def test_the_barrier_is_the_dip_below_the_line_between_the_ends():
    sweep = AlphaSweep()
    sweep.search(BASE, TUNED, lambda s: at(s) - 0.4 * (at(s) == 0.5))
    assert sweep.barrier_ == pytest.approx(0.4)
    sweep.search(BASE, TUNED, at)
    assert sweep.barrier_ == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="three points"):
        AlphaSweep().barrier_  # noqa: B018


def test_models_that_do_not_fit_are_refused_before_any_work():
    with pytest.raises(ValueError, match="cannot be merged"):
        AlphaSweep().search(BASE, {"v": torch.ones(2)})
    with pytest.raises(ValueError, match="at least one alpha"):
        AlphaSweep(()).search(BASE, TUNED, at)
