"""CLIP-Adapter: a bottleneck network on the image feature, mixed with the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads import inputs
from pairwright.heads.descent import by_content, descend, precision

CARD = Card(
    name="CLIP-Adapter",
    symbol="ClipAdapter",
    paper="extra:clip-adapter",
    title="CLIP-Adapter: Better Vision-Language Models with Feature Adapters",
    year=2021,
    arxiv="2110.04544",
    where="section 3.2, equations 5 to 8",
    equation="logits = scale unit((1 - ratio) z + ratio relu(z V) U) W^T,  V (D, D/4), U (D/4, D) learned by cross-entropy",
    says="A small residual network behind the frozen encoder adapts it better than learned prompts, and simpler.",
    needs="few labelled features + class text",
    cost="at most 1,500 small steps; then two thin products beside zero-shot",
    use_when="class evidence that no linear classifier can read (a factor that flips the sign of a direction), with 8 or more shots",
    not_when="very few shots; classes that were not trained have to stay as they were",
    aliases=("CLIP adapter", "feature adapter", "residual MLP", "bottleneck adapter"),
    neighbours=("heads/linear/text_residual", "heads/transport/lfa", "heads/cache/tip_adapter_f"),
    deviations=(
        "no ReLU behind the second layer, as in the paper's equation; the released code has one, which keeps what is added non-negative "
        "in every channel. Effect unknown",
        "Adam at lr 3e-3 in batches of 256 on stored features, where the paper trains with 1e-5 in batches of 32 on augmented images. "
        "Effect unknown",
        "only the visual adapter: the paper finds that adapting the text as well adds nothing",
    ),
    checks=("mechanism:clip_adapter",),
)

RATIOS = (0.0, 0.2, 0.4, 0.8)


@dataclass
class ClipAdapter:
    """Few-shot classifier: a trained bottleneck network on the image feature, mixed with the feature itself, scored by the class text.

    ratio: share of the network's output in the mix (0 = zero-shot); the default is the paper's and needs no validation. Where `val` is
    given, it is chosen there from four values (smallest among equals), into ratio_; that trains three networks. reduction: width of the
    bottleneck is D / reduction. epochs, lr: Adam with a cosine schedule. max_steps: ceiling on the number of steps. seed: of the first
    weights.
    """

    ratio: float = 0.2
    reduction: int = 4
    epochs: int = 200
    lr: float = 3e-3
    max_steps: int = 1500
    seed: int = 0

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"ratio": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ClipAdapter:
        text = inputs.class_text_of(text, self)
        train, y_N, _ = inputs.labelled(train, text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        order = by_content(train.z_ND)
        z_ND, y_N = train.z_ND[order], y_N[order]
        if val is None or len(train) == 0:
            self._train(z_ND, y_N, self.ratio)
            return self
        val, y_V, _ = inputs.labelled(val, text, self)
        found = []
        for ratio in RATIOS:
            self._train(z_ND, y_N, ratio)
            found.append((inputs.accuracy(self.logits(val), y_V), -ratio, self.down_, self.up_))
        _, minus_ratio, self.down_, self.up_ = max(found, key=lambda f: f[:2])
        self.ratio_ = -minus_ratio
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "down_")
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        return self.scale_ * adapted(z_ND, self.down_, self.up_, self.ratio_) @ self.text_.T

    def _train(self, z_ND: Tensor, y_N: Tensor, ratio: float) -> None:
        D = z_ND.shape[1]
        width = max(1, D // self.reduction)
        draw = lambda rows, columns: torch.rand(
            rows, columns, generator=generator("clip_adapter", self.seed, rows, columns), dtype=torch.float64
        )
        dtype = precision(len(z_ND), *self.text_.shape)
        z_ND, text_CD = z_ND.to(dtype), self.text_.to(dtype)
        down_DE, up_ED = (((2 * draw(*s) - 1) / s[0] ** 0.5).to(dtype).requires_grad_() for s in ((D, width), (width, D)))

        def loss(rows: Tensor) -> Tensor:
            return cross_entropy(self.scale_ * adapted(z_ND[rows], down_DE, up_ED, ratio) @ text_CD.T, y_N[rows])

        self.ratio_ = ratio if len(z_ND) else 0.0
        if self.ratio_:
            descend([down_DE, up_ED], loss, len(z_ND), lr=self.lr, epochs=self.epochs, most_steps=self.max_steps, key="clip_adapter")
        self.down_, self.up_ = down_DE.detach().float(), up_ED.detach().float()


def adapted(z_ND: Tensor, down_DE: Tensor, up_ED: Tensor, ratio: float) -> Float[Tensor, "N D"]:
    """unit((1 - ratio) z + ratio relu(z V) U)."""
    return unit((1 - ratio) * z_ND + ratio * (z_ND @ down_DE).relu() @ up_ED)
