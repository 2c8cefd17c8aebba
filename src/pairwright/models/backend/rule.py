"""Which backend to run: the fastest of those that were measured to be close enough to fp32. Pure functions of measurements."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

PRECISIONS = ("auto", "fp32", "bf16", "int8")
CLOSE = 0.999
"""Least cosine to fp32, in the mean and in the worst row, of what is chosen unasked."""
ROUGH = 0.99
"""Least cosine of what is chosen only if its precision is asked for."""
MARGIN = 1.05
"""How much faster a coarser backend has to be: differences below this are noise."""


@dataclass(frozen=True)
class Trial:
    """One backend measured on calibration pictures.

    seconds: per image. opening: seconds until it can run, in each process. cosine_min, cosine_mean: to fp32, over the rows. error: why
    it could not be run; such a trial is never chosen.
    """

    name: str
    precision: str
    seconds: float = float("inf")
    opening: float = 0.0
    cosine_min: float = 0.0
    cosine_mean: float = 0.0
    error: str = ""


def accepted(trial: Trial, precision: str) -> bool:
    """Whether a measured backend may be used when `precision` was asked for."""
    if trial.error or precision not in ("auto", trial.precision):
        return False
    least = CLOSE if precision == "auto" else ROUGH
    return trial.cosine_min >= least and trial.cosine_mean >= least


def choose(trials: Iterable[Trial], precision: str = "auto", images: int = 10**9, refused: Collection[str] = ()) -> Trial:
    """The accepted backend that is done first with `images` images, opening included; fp32 unless another is clearly faster.

    Raises ValueError with the measured cosines where none is accepted.
    """
    trials = list(trials)
    good = [t for t in trials if accepted(t, precision) and t.name not in refused]
    if not good:
        seen = "; ".join(f"{t.name}: {t.error or f'cosine {t.cosine_min:.4f} at least, {t.cosine_mean:.4f} in the mean'}" for t in trials)
        raise ValueError(
            f"no {precision} backend is close enough to fp32 for this model on this machine ({seen or 'none was tried'}): "
            "use precision='auto'"
        )
    cost = lambda t: t.opening + images * t.seconds
    best = min(good, key=cost)
    exact = [t for t in good if t.precision == "fp32" and cost(t) <= cost(best) * MARGIN]
    return min(exact, key=cost, default=best)


def worth_trying(expected_opening: float, best_seconds: float, images: int) -> bool:
    """Whether measuring another backend can pay: if it saved a third of the time, the images ahead would have to repay it."""
    return images * best_seconds / 3 > expected_opening
