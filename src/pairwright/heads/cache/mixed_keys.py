"""CapS-Adapter: a cache whose keys mix the features of support images and of their captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import unit
from pairwright.heads import inputs
from pairwright.heads.cache.tip_x import TipX

CARD = Card(
    name="CapS-Adapter (mixed keys)",
    symbol="MixedKeys",
    paper="caps-adapter",
    title="CapS-Adapter: Caption-based MultiModal Adapter in Zero-Shot Classification",
    year=2024,
    arxiv="2405.16591",
    where="the multimodal adapter (M-Adapter)",
    equation="key = (1 - delta) K_image + delta K_caption;  logits = scale z W^T + alpha exp(-beta (1 - z key^T)) Y + gamma A Y  with A "
    "of TIP-X",
    says="Keys that mix generated images with the captions they were made from fit the target better than either, on 19 data sets.",
    needs='support features with labels and, as side["caption"], the features of their captions + class text',
    cost="that of TIP-X",
    use_when="support images come from elsewhere (generated, retrieved) and carry a look that the target has not, while their captions "
    "do not",
    not_when="captions that describe something else: the mix is worse than the images alone",
    aliases=("CapS-Adapter", "M-Adapter", "caption keys", "multimodal cache"),
    neighbours=("heads/cache/tip_x", "heads/cache/tip_adapter"),
    deviations=(
        "signatures are softmaxes over the class texts, as the paper says; the released script takes the softmax over raw feature "
        "channels, which looks like a slip. Effect unknown",
        "without val delta=0.5; the paper always searches it on val. The rest is as in tip_x",
    ),
    checks=("mechanism:mixed_keys",),
)

DELTAS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class MixedKeys(TipX):
    """Few-shot or name-only classifier without training: TIP-X on keys that mix support images and their captions.

    fit reads the caption features, one row for each support row and of the same encoder, from `train.side["caption"]`; without them
    delta_ is 0, which is TIP-X. delta: share of the caption in a key; where `val` is given it is chosen there with alpha, beta and gamma
    (smallest delta among equals), into delta_.
    """

    delta: float = 0.5

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text", "side.caption"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0, "gamma": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> MixedKeys:
        super().fit(train, text)
        rows_KD = self.keys_
        caption_KD = train.side.get("caption") if isinstance(train, Features) else None
        if caption_KD is not None and caption_KD.shape != rows_KD.shape:
            raise ValueError(
                f'side["caption"] has the shape {tuple(caption_KD.shape)}, the support rows {tuple(rows_KD.shape)}: '
                "give one caption embedding of the same model for each row"
            )
        deltas = (0.0,) if caption_KD is None else (self.delta,) if val is None else DELTAS
        caption_KD = rows_KD if caption_KD is None else unit(caption_KD)
        if val is None:
            self._mix(rows_KD, caption_KD, deltas[0])
            return self
        val, y_V, _ = inputs.labelled(val, text, self)
        found = []
        for delta in deltas:
            self._mix(rows_KD, caption_KD, delta)
            accuracy, *rest = self._search(val.z_ND, y_V)
            found.append((accuracy, -delta, *rest))
        accuracy, minus_delta, *rest = max(found)
        self._mix(rows_KD, caption_KD, -minus_delta)
        self._take((accuracy, *rest))
        return self

    def _mix(self, rows_KD: Tensor, caption_KD: Tensor, delta: float) -> None:
        self.delta_ = delta
        self._key((1 - delta) * rows_KD + delta * caption_KD, rows_KD)
