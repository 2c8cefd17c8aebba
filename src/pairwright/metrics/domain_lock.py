"""How well a model is locked to authorised domains: what it loses where it may be used, and where it may not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class DomainLock(NamedTuple):
    """drop_authorised, drop_unauthorised: accuracy before minus after (the latter a mean over domains). difference: the second minus the
    first; 0 where the lock makes no difference between domains. score: the authorised accuracy that is left times the difference."""

    drop_authorised: float
    drop_unauthorised: float
    difference: float
    score: float


def domain_lock(
    authorised_before: float, authorised_after: float, unauthorised_before: Sequence[float], unauthorised_after: Sequence[float]
) -> DomainLock:
    """Compare accuracies before and after a lock, on the authorised domain and on one or several others. A score of 1 is perfect.

    >>> domain_lock(0.9, 0.8, [0.8, 0.6], [0.1, 0.1]).score
    0.4
    """
    before, after = np.asarray(unauthorised_before, dtype=np.float64), np.asarray(unauthorised_after, dtype=np.float64)
    if before.ndim != 1 or before.shape != after.shape or not len(before):
        raise ValueError(
            f"unauthorised accuracies are two lists of one value a domain, got shapes {before.shape} and {after.shape}: "
            "write [0.7] for a single domain"
        )
    every = np.concatenate([[authorised_before, authorised_after], before, after])
    if not ((every >= 0) & (every <= 1)).all():
        raise ValueError("accuracies are shares between 0 and 1: divide per cent by 100")
    drop_authorised, drop_unauthorised = float(authorised_before - authorised_after), float((before - after).mean())
    difference = drop_unauthorised - drop_authorised
    return DomainLock(drop_authorised, drop_unauthorised, difference, round(float(authorised_after) * difference, 12))
