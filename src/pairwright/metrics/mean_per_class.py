"""Mean per-class (balanced) accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairwright.core.card import Card
from pairwright.metrics.topk_accuracy import topk_accuracy

CARD = Card(
    name="mean per-class accuracy",
    symbol="mean_per_class",
    paper="extra:clip",
    title="Learning Transferable Visual Models From Natural Language Supervision",
    year=2021,
    arxiv="2103.00020",
    where="appendix A.1 (the metric of Oxford Pets, Caltech-101, FGVC Aircraft and others)",
    equation="1/|C'| sum_{c in C'} accuracy on the rows of class c,  C' = classes that have rows",
    says="Every class counts the same, however many images it has.",
    needs="class scores and labels",
    cost="as top-k accuracy",
    use_when="classes have different numbers of rows",
    not_when="the frequency of classes is what matters to the user",
    aliases=("balanced accuracy", "macro recall", "class-balanced accuracy"),
    neighbours=("metrics/topk_accuracy",),
)
PERFECT = 1.0


def mean_per_class(scores_NC: Any, y_N: Any, k: int = 1, *, items: bool = False) -> Any:
    """Balanced accuracy: the mean over classes of the top-k accuracy within the class.

    Classes without rows are left out. Ties as in topk_accuracy. items: one value per class (C,), NaN for a class without rows.

    >>> mean_per_class([[1, 0], [1, 0], [1, 0], [1, 0]], [0, 0, 0, 1])
    0.5
    """
    hit_N = topk_accuracy(scores_NC, y_N, k, items=True)
    y_N, classes = np.asarray(y_N), np.shape(scores_NC)[1]
    count_C = np.bincount(y_N, minlength=classes)
    with np.errstate(invalid="ignore"):
        value_C = np.bincount(y_N, weights=hit_N, minlength=classes) / count_C
    return value_C if items else float(np.nanmean(value_C))
