"""Temperature scaling against a grid of temperatures, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from pairwright.audit.calibrate.temperature import Temperature


def problem(seed: int, n: int = 300, classes: int = 5, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times the true log-posteriors."""
    rng = np.random.default_rng(seed)
    true = log_softmax(1.5 * rng.standard_normal((n, classes)), 1)
    y = np.array([rng.choice(classes, p=np.exp(row)) for row in true])
    return factor * true, y


@pytest.mark.parametrize(("factor", "smooth"), [(3.0, 0.0), (0.2, 0.0), (40.0, 0.0), (3.0, 0.1)])
def test_the_optimum_is_scipys(factor, smooth):
    logits, y = problem(0, factor=factor)
    target = (1 - smooth) * np.eye(5)[y] + smooth / 5
    loss = lambda log_t: -(target * log_softmax(logits / np.exp(log_t), 1)).sum(1).mean()
    best = np.exp(minimize_scalar(loss, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10}).x)
    assert Temperature(smooth).fit(logits, y).temperature_ == pytest.approx(best, rel=1e-5)


def test_the_planted_factor_is_found_and_calibrated_logits_are_left_alone():
    for factor in (0.3, 1.0, 3.0):
        assert Temperature().fit(*problem(1, 6000, factor=factor)).temperature_ == pytest.approx(factor, rel=0.05)


def test_answers_do_not_change_and_rows_sum_to_one():
    logits, y = problem(2)
    p = Temperature().fit(logits, y).apply(logits)
    assert torch.equal(p.argmax(1), torch.from_numpy(logits).argmax(1))
    torch.testing.assert_close(p.sum(1), torch.ones(len(y), dtype=torch.float64))


def test_smooth_keeps_rows_that_are_all_right_below_certainty():
    logits, y = 4 * torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
    assert Temperature().fit(logits, y).apply(logits).max() > 0.9999
    p = Temperature(smooth=1 / 14).fit(logits, y).apply(logits)[0, 0]
    assert float(p) == pytest.approx(1 - (1 / 14) * 2 / 3, abs=1e-6)


def test_odd_logits():
    assert Temperature().fit(torch.zeros(4, 3), [0, 1, 2, 0]).temperature_ == 1.0
    t = Temperature().fit([[1.0, 0.0, -torch.inf]] * 3 + [[0.0, 1.0, -torch.inf]] + [[2.0, 1.0, -torch.inf]], [0, 0, 1, 1, 2])
    alone = Temperature().fit([[1.0, 0.0]] * 3 + [[0.0, 1.0]], [0, 0, 1, 1])
    assert t.temperature_ == pytest.approx(alone.temperature_, rel=1e-3)
    with pytest.raises(ValueError, match="no row"):
        Temperature().fit([[0.0, -torch.inf]], [1])
    with pytest.raises(ValueError, match="share"):
        Temperature(smooth=1.0).fit([[0.0, 1.0]], [1])
    with pytest.raises(ValueError, match="not fitted"):
        Temperature().apply([[0.0, 1.0]])
