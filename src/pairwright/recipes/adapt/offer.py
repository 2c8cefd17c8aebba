"""Is there time to tune weights? A method on the user's pictures, with its measured price, and what the budget holds of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pairwright.core.features import Features
from pairwright.data.text.templates import templates as load_templates
from pairwright.recipes.adapt.clock import LEAST
from pairwright.recipes.adapt.forgot import MOST
from pairwright.recipes.adapt.kinds import class_counts
from pairwright.recipes.adapt.tuned import FEWEST, GOOD, SHOTS, SPARE, Schedule, most_folds, schedule
from pairwright.recipes.adapt.ways import TRIED
from pairwright.recipes.adapt.weights import Price, Tuner, shrunk
from pairwright.train.stop import Interrupted

HEADS = 0.3
"""Share of the budget that the heads get, at most, where a method that tunes weights is forced and fits into the rest."""


@dataclass(frozen=True)
class Offer:
    """What tuning would cost. wanted: steps of the recipe; folds: the most that the data allow; image: seconds to embed a picture."""

    tuner: Tuner
    price: Price
    wanted: int
    folds: int
    image: float

    def plan(self, seconds: float, *, forced: bool) -> Schedule | None:
        """What fits into the seconds, the two examinations by the reference included."""
        return schedule(self.price, self.wanted, self.folds, seconds - self._reference(seconds), forced=forced)

    def asked(self, seconds: float) -> int:
        """How many pictures the reference asks: fewer where asking both models would take more than a fifth of the seconds."""
        return min(MOST, max(50, int(0.1 * seconds / self.image)))

    def refusal(self, seconds: float) -> str:
        """What to say where not even a forced method fits."""
        need = max(1.0, seconds)
        while self.plan(need, forced=True) is None:
            need *= 1.1
        return (
            f"{self.tuner.name} does not fit into the budget: with {self.price.step:.2g} s a step the least of it takes about "
            f"{need:.0f} s, and {max(0.0, seconds):.0f} s are left. These are the best heads instead; give more time to tune weights."
        )

    def _reference(self, seconds: float) -> float:
        return 2 * self.asked(seconds) * self.image


def forced_offer(
    name: str, model: Any, train: Features, sources: Sequence[Any], prompts: Any, groups: Sequence[int], seed: int, seconds: float
) -> Offer:
    """The offer of one method. Raises ValueError, with the reason, for a model that it cannot tune.

    Where even a guess from one pass through the towers is far above the seconds, the guess is the price, and nothing is run.
    """
    if why := _unfit(model):
        raise ValueError(f"weights cannot be tuned: {why}")
    if len(train) < 2:
        raise ValueError(f"weights cannot be tuned on {len(train)} labelled image: label two or more")
    tuner = Tuner(name, model, train, (), load_templates(prompts), seed)
    wanted, folds, rough = tuner.way.steps(len(train)), most_folds(tuner, groups), tuner.rough()
    image = rough / 3 / min(tuner.way.config.batch, len(train))
    if min(wanted, FEWEST) * rough > seconds:
        return Offer(tuner, Price(rough, 0.0), wanted, folds, image)
    tuner = replace(tuner, pictures=shrunk(sources, max(model.preprocess.hw)))
    return Offer(tuner, tuner.price(), wanted, folds, image)


def affordable_offer(
    model: Any, train: Features, sources: Sequence[Any], prompts: Any, groups: Sequence[int], seed: int, seconds: float
) -> tuple[Offer | None, str]:
    """The method that is tried unasked, if data and seconds are enough for it, or None and a sentence that says why ("" for the data)."""
    counts = sorted(class_counts(train.y_N, len(train.classes)))
    if seconds < LEAST or counts[len(counts) // 2] < SHOTS or _unfit(model):
        return None, ""
    try:
        offer = forced_offer(TRIED, model, train, sources, prompts, groups, seed, seconds / 3)
    except Interrupted:
        raise
    except (ValueError, RuntimeError) as e:
        return None, f"Weight tuning was left out: {' '.join(str(e).split())[:200]}"
    if offer.folds < 2:
        return None, ""
    if offer.plan(seconds, forced=False) is None:
        need = offer.price.of(3, min(offer.wanted, GOOD)) / SPARE
        return None, f"Weight tuning was left out: it would take about {need:.0f} s. --method {offer.tuner.name} forces it."
    return offer, ""


def _unfit(model: Any) -> str:
    whole = model.tokenizer is not None and hasattr(model.preprocess, "hw") and {"image", "text"} <= set(model.towers)
    return "" if whole else "this model has no tokenizer, no text tower or no preprocessing that training could repeat"
