"""Tune only the gains and biases of the normalisation layers, or only the biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pairwright.core.card import Card
from pairwright.models.dual import DualEncoder
from pairwright.tune.weights.mover import Selection

CARD = Card(
    name="LN-tuning and BitFit",
    symbol="SelectParams",
    paper="clip-ln-tuning-deepfake",
    title="Unlocking the Hidden Potential of CLIP in Generalizable Deepfake Detection",
    year=2025,
    arxiv="2503.19683",
    where="section 3 (LN-tuning); biases only is BitFit, arXiv 2106.10199",
    equation="theta = (theta_fixed, theta_moving),  theta_moving = gains and biases of the norm layers ('norm'), or all biases ('bias')",
    says="Moving only the norm layers' gains and biases adapts CLIP to forgery detection and carries over to makers of forgeries that "
    "were not in training better than moving more.",
    needs="labelled images; gradients through the encoders that move",
    cost="a training step costs nearly that of full fine-tuning; the state to store is well below a thousandth of the model",
    use_when="the test data differ from the training data (full fine-tuning learns what sets the training data apart); tests at run time",
    not_when="plenty of data like the test data: full fine-tuning or LoRA go further",
    aliases=("LayerNorm tuning", "LN-tuning", "norm tuning", "NormOnly", "BitFit", "bias tuning", "BiasOnly"),
    neighbours=("tune/weights/lora", "tune/weights/lock_tower"),
    deviations=(
        "statistics of batch normalisation stay as they are",
        "the check wants 2 points over full fine-tuning on styles that were not in training and finds 1.4 in the mean, above the margin in "
        "2 of 5 seeds (rates 2e-3 and 5e-3 were tried on another seed). Other plants, at the best rate of each on one or two other seeds, "
        "showed the opposite: with a probe's head full fine-tuning was 6 to 7 points better on other styles; detectors of planted "
        "forgeries, 40 images of one maker, ranked those of other makers 5 to 37 points better; with 1 or 4 shots it kept 2 to 4 points "
        "more on classes that were not in training. The norms of these small towers may be too few",
    ),
    checks=("mechanism:select_params",),
)

NORMS = (nn.LayerNorm, nn.GroupNorm, _BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.RMSNorm)
KINDS = ("norm", "bias")


@dataclass(eq=False)
class SelectParams(Selection):
    """Freeze a model except for one kind of parameters: of the norm layers (LN-tuning) or all biases (BitFit).

    kind: ``"norm"`` (gain and bias of every normalisation layer), ``"bias"`` (every bias, those of the norm layers among them). towers:
    where. The head that classifies is not part of the model: an objective brings its own.
    """

    kind: Literal["norm", "bias"] = "norm"
    towers: Sequence[str] = ("image", "text")

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, got {self.kind!r}")

    def _chosen(self, model: DualEncoder) -> Mapping[str, nn.Parameter]:
        chosen = {}
        for name in self.towers:
            if name not in model.towers:
                raise ValueError(f"this model has no {name!r} tower; it has {', '.join(model.towers)}")
            here = {
                f"towers.{name}.{path}.{own}".replace("..", "."): p
                for path, module in model.towers[name].named_modules()
                for own, p in module.named_parameters(recurse=False)
                if (isinstance(module, NORMS) if self.kind == "norm" else own == "bias" or own.endswith("_bias"))
            }
            if not here:
                raise ValueError(f"the {name} tower has no parameters of the kind {self.kind!r}: choose another, or leave the tower out")
            chosen |= here
        return chosen
