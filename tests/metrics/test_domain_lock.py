"""The score of a lock by hand, at its ends, and what it refuses."""

from __future__ import annotations

import pytest

from pairwright.metrics.domain_lock import domain_lock


def test_by_hand_and_at_the_ends() -> None:
    found = domain_lock(0.9, 0.7, [0.8, 0.4], [0.2, 0.4])
    assert found.drop_authorised == pytest.approx(0.2)
    assert found.drop_unauthorised == pytest.approx(0.3)
    assert found.difference == pytest.approx(0.1)
    assert found.score == pytest.approx(0.07)
    assert domain_lock(1.0, 1.0, [1.0], [0.0]).score == 1
    assert domain_lock(0.8, 0.3, [0.8], [0.3]).score == 0  # a lock that costs both alike


def test_refuses_per_cent_and_lists_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="divide per cent by 100"):
        domain_lock(90.0, 80.0, [0.5], [0.5])
    for before, after in (([0.5], [0.5, 0.4]), ([], [])):
        with pytest.raises(ValueError, match="one value a domain"):
            domain_lock(0.9, 0.8, before, after)
