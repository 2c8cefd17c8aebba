"""What metrics accept: numpy arrays, tensors or lists, checked once, with the fix in the message."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def matrix(x: Any, what: str = "scores") -> Tensor:
    """Any (rows, columns) array -> tensor (float32 unless it is float64); refuses NaN and other shapes."""
    t = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else torch.as_tensor(x).detach()
    t = t if t.dtype == torch.float64 else t.float()
    if t.ndim != 2 or 0 in t.shape:
        raise ValueError(f"{what} is a matrix (rows, columns) with at least one of each, got shape {tuple(t.shape)}")
    if torch.isnan(t).any():
        row = int(torch.isnan(t).any(1).nonzero()[0])
        raise ValueError(f"{what} holds NaN (first in row {row}): a ranking of NaN means nothing; mend the scores first")
    return t


def scores_and_labels(scores_NC: Any, y_N: Any) -> tuple[Tensor, Tensor]:
    """Class scores and integer labels, checked against each other."""
    scores_NC = matrix(scores_NC)
    y_N = torch.as_tensor(np.asarray(y_N) if isinstance(y_N, list | tuple) else y_N)
    if y_N.is_floating_point() or y_N.dtype == torch.bool:
        raise ValueError(f"labels are integers (class indices), got {y_N.dtype}")
    y_N = y_N.long()
    if y_N.shape != scores_NC.shape[:1]:
        raise ValueError(f"{scores_NC.shape[0]} rows of scores but labels of shape {tuple(y_N.shape)}")
    bad = (y_N < 0) | (y_N >= scores_NC.shape[1])
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(f"label {int(y_N[row])} (row {row}) is outside of the {scores_NC.shape[1]} classes 0 … {scores_NC.shape[1] - 1}")
    return scores_NC, y_N


def probabilities(probs_NC: Any, y_N: Any) -> tuple[Tensor, Tensor]:
    """Class probabilities (rows sum to 1) in float64 and labels."""
    probs_NC, y_N = scores_and_labels(probs_NC, y_N)
    probs_NC = probs_NC.double()
    if (probs_NC < 0).any() or ((probs_NC.sum(1) - 1).abs() > 1e-3).any():
        raise ValueError("these are not probabilities (non-negative, rows summing to 1): pass softmax(logits), not logits")
    return probs_NC, y_N


def answer(items_N: Tensor, items: bool) -> Any:
    """The mean as a float, or one float64 value per item as a numpy array."""
    return items_N.double().numpy() if items else float(items_N.double().mean())


def above_and_tied(scores_NC: Tensor, y_N: Tensor) -> tuple[Tensor, Tensor]:
    """For each row: how many classes score above the true one, and how many score the same (the true one included)."""
    own_N1 = scores_NC.gather(1, y_N[:, None])
    return (scores_NC > own_N1).sum(1), (scores_NC == own_N1).sum(1)
