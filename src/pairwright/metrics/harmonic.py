"""The harmonic mean of two accuracies: high only where both are, which is how base and new classes are summed up."""

from __future__ import annotations

from typing import Any

import numpy as np


def harmonic_mean(a: Any, b: Any) -> Any:
    """2ab / (a + b), element by element for arrays; 0 where both are 0. Raises ValueError for negative values.

    >>> harmonic_mean(0.8, 0.6)
    0.6857142857142857
    """
    a_, b_ = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if (a_ < 0).any() or (b_ < 0).any():
        raise ValueError("a harmonic mean takes values that are not negative, such as accuracies")
    total = a_ + b_
    mean = np.where(total > 0, 2 * a_ * b_ / np.where(total > 0, total, 1.0), 0.0)
    return float(mean) if mean.ndim == 0 else mean
