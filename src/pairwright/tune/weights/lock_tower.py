"""LiT: lock one tower and train the other to follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from pairwright.core.card import Card
from pairwright.models.dual import DualEncoder
from pairwright.tune.weights.mover import Selection, still

CARD = Card(
    name="LiT (locked-image tuning)",
    symbol="LockTower",
    paper="extra:lit",
    title="LiT: Zero-Shot Transfer with Locked-image text Tuning",
    year=2022,
    arxiv="2111.07991",
    where="section 4, the setting Lu",
    equation="theta = (theta_locked, theta_moving),  gradients reach theta_moving only",
    says="A text tower that learns to read out a good, locked image tower gives better zero-shot classifiers than training both, with far "
    "fewer pairs.",
    needs="one tower that is good already, and pairs",
    cost="no gradients through the locked tower; its embeddings may be computed once and stored",
    use_when="a strong encoder of one side exists and pairs are few or noisy; a text tower in another language for given images",
    not_when="the locked side does not know what the pairs are about",
    aliases=("locked-image tuning", "contrastive tuning", "frozen tower", "freeze"),
    neighbours=("tune/weights/select_params",),
    deviations=("the logit scale moves, as in the paper; so does everything else outside of the locked tower",),
    checks=("mechanism:lock_tower",),
)


@dataclass(eq=False)
class LockTower(Selection):
    """Freeze one tower of a model, in evaluation mode (no dropout, fixed statistics); everything else moves.

    tower: ``"image"`` or ``"text"``. Embeddings of the locked side do not change, so a data source may bring them ready-made.
    """

    tower: str = "image"

    def _chosen(self, model: DualEncoder) -> Mapping[str, nn.Parameter]:
        if self.tower not in model.towers:
            raise ValueError(f"this model has no {self.tower!r} tower; it has {', '.join(model.towers)}")
        chosen = {name: p for name, p in model.named_parameters() if not name.startswith(f"towers.{self.tower}.")}
        if not any(name.startswith("towers.") for name in chosen):
            raise ValueError(f"nothing is left to train: {self.tower!r} is the only tower")
        return chosen

    def attach(self, model: DualEncoder) -> None:
        super().attach(model)
        self._hooks.append(model.towers[self.tower].register_forward_pre_hook(still))
