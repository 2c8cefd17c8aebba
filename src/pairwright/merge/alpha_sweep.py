"""How far to go from a model to its fine-tuned copy: the whole curve of interpolations, and the best on validation data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from pairwright.core.card import Card
from pairwright.merge.interpolate import Interpolate
from pairwright.merge.weights import check_alike, merge_states

CARD = Card(
    name="WiSE-FT sweep (alpha curve)",
    symbol="AlphaSweep",
    paper="extra:wise-ft-sweep",
    title="Robust fine-tuning of zero-shot models",
    year=2022,
    arxiv="2109.01903",
    where="section 4, the curves over alpha of figure 1",
    equation="alpha* = argmax_alpha score_val((1 - alpha) theta_base + alpha theta_tuned)",
    says="Nearly every point of the curve beats fine-tuning under shift; 0.5 is close to the best without any choice, and choosing "
    "alpha on held-out data of the fine-tuning task costs nothing there.",
    needs="a model, its fine-tuned copy, and a score on validation data (without it: alpha 0.5)",
    cost="one evaluation of the validation data for each alpha",
    use_when="validation data of the fine-tuning task are at hand, or the curve itself is to be looked at",
    not_when="the only data to choose on are the test data",
    aliases=("alpha curve", "interpolation sweep", "linear mode connectivity", "barrier"),
    neighbours=("merge/interpolate",),
    deviations=("among alphas of equal score the one nearest to 0.5 is taken",),
    checks=("mechanism:wise_ft_sweep",),
)


@dataclass
class AlphaSweep:
    """Search along the line between two models: `search` gives the share of the tuned one, `curve_` holds (alpha, score) of every point.

    alphas: the points to try. Give a score on validation data only: the file of a test set has no business here. A dip of the curve
    between its ends (`barrier_`, at least 0) says that the two models are not of one origin.
    """

    alphas: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

    def search(
        self,
        base: Mapping[str, Tensor],
        tuned: Mapping[str, Tensor],
        score: Callable[[Mapping[str, Tensor]], float] | None = None,
    ) -> float:
        """The best alpha by score(state dict), higher is better; 0.5, the paper's choice, without a score."""
        check_alike(base, [tuned])
        self.curve_: list[tuple[float, float]] = []
        if score is None:
            return 0.5
        if not self.alphas:
            raise ValueError("give at least one alpha to try")
        self.curve_ = [(a, float(score(merge_states(Interpolate(a), base, [tuned])))) for a in self.alphas]
        return max(self.curve_, key=lambda point: (point[1], -abs(point[0] - 0.5)))[0]

    @property
    def barrier_(self) -> float:
        """How far the curve falls below the straight line between its ends, at most."""
        if len(getattr(self, "curve_", [])) < 3:
            raise ValueError("a barrier is seen on a curve of at least three points: call search with a score first")
        (a0, s0), *_, (a1, s1) = points = sorted(self.curve_)
        return max(0.0, *(s0 + (s1 - s0) * (a - a0) / (a1 - a0) - s for a, s in points))
