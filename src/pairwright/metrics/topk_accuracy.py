"""Top-k accuracy of a classifier."""

from __future__ import annotations

from typing import Any

from pairwright.core.card import Card
from pairwright.metrics.inputs import above_and_tied, answer, scores_and_labels

CARD = Card(
    name="top-k accuracy",
    symbol="topk_accuracy",
    paper="extra:clip",
    title="ImageNet Large Scale Visual Recognition Challenge (top-5 error)",
    year=2015,
    arxiv="1409.0575",
    where="section 4",
    equation="mean_n P(true class of n is among the k highest scores), ties broken at random",
    says="The share of images whose true class is among the k best guesses.",
    needs="class scores and labels",
    cost="one comparison per score",
    use_when="classes are about balanced",
    not_when="classes are long-tailed: use mean_per_class beside it",
    aliases=("accuracy", "top-1", "top-5", "acc@k"),
    neighbours=("metrics/mean_per_class",),
)
PERFECT = 1.0


def topk_accuracy(scores_NC: Any, y_N: Any, k: int = 1, *, items: bool = False) -> Any:
    """Accuracy: the share of rows whose true class is among the k highest scores (top-1 by default).

    Ties: the expected value if ties are broken at random, so constant scores give k / C and not 1. items: one value in [0, 1] per row.

    >>> topk_accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    above_N, tied_N = above_and_tied(*scores_and_labels(scores_NC, y_N))
    return answer(((k - above_N) / tied_N).clamp(0, 1), items)
