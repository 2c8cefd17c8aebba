"""CALIP: patch tokens and class texts attend to each other, without parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import unit
from pairwright.heads import inputs

CARD = Card(
    name="CALIP (parameter-free attention)",
    symbol="ParameterFreeAttention",
    paper="extra:calip",
    title="CALIP: Zero-Shot Enhancement of CLIP with Parameter-free Attention",
    year=2023,
    arxiv="2209.14169",
    where="section 3.2, equations 4 to 9",
    equation="A = 2 T W^T;  logits = scale (z W^T + beta2 z . (softmax_m(A)^T T)_c + beta3 v . W_c),  v = (mean_m + max_m) softmax_c(A) W",
    says="Letting image patches and class texts look at each other improves zero-shot accuracy for free.",
    needs="class text, and rows with patch tokens in the joint space",
    cost="one product of all patch tokens with the class text per row",
    use_when="the object fills a small part of a cluttered picture, and patch tokens live in the joint space",
    not_when="patch tokens do not mean anything by themselves (most plain CLIP towers); one background around the object (the maximum over "
    "patches is better there)",
    aliases=("CALIP", "parameter-free attention", "training-free attention"),
    neighbours=("heads/zero_shot/classifier", "heads/zero_shot/prompt_ensemble"),
    deviations=(
        "without val beta2=1 and beta3=0.05, the middles of the released search ranges; the released script chooses both on the test rows",
        "a row without tokens is classified as zero-shot",
        "with the fixed factor of 2 the attention over patches is nearly uniform. It helps (14 points in the check, weights chosen on val, "
        "5 more than the maximum over patches) where the other patches differ from each other; where one background fills 12 of 16 "
        "patches, the global feature, by which the class-wise picture is read, is that background: 0.3 points, and the maximum gains 62",
    ),
    checks=("mechanism:parameter_free_attention",),
)

BETA2 = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
BETA3 = (0.0, 0.0125, 0.025, 0.05, 0.1, 0.2)
_BLOCK = 2**23  # entries of the attention in memory at once


@dataclass
class ParameterFreeAttention:
    """Zero-shot classifier in which patch tokens and class texts attend to each other, without training.

    logits wants Features with `tokens_NMD` (patch tokens in the joint space); rows without them, and plain arrays, get zero-shot scores.
    beta2: weight of the class-wise picture, beta3: of the text-wise picture; both 0 is zero-shot. Where `val` is given, with tokens, both
    are chosen on it (smallest among equals), into beta2_ and beta3_. Learns nothing from `train`.
    """

    beta2: float = 1.0
    beta3: float = 0.05

    needs: ClassVar[frozenset[str]] = frozenset({"text", "tokens"})
    neutral: ClassVar[dict[str, float] | None] = {"beta2": 0.0, "beta3": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ParameterFreeAttention:
        text = inputs.class_text_of(text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, text.encoder, text.scale
        self.beta2_, self.beta3_ = self.beta2, self.beta3
        if val is not None and val.tokens_NMD is not None:
            val, y_V, _ = inputs.labelled(val, text, self)
            zero_shot, seen, read = val.z_ND @ self.text_.T, *self._attend(val.z_ND, val.tokens_NMD)
            grid = ((inputs.accuracy(zero_shot + b2 * seen + b3 * read, y_V), -b2, -b3) for b2 in BETA2 for b3 in BETA3)
            _, minus_beta2, minus_beta3 = max(grid)
            self.beta2_, self.beta3_ = -minus_beta2, -minus_beta3
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (Features with tokens; an array or tensor gets zero-shot scores)."""
        inputs.fitted(self, "text_")
        tokens_NMD = z_ND.tokens_NMD if isinstance(z_ND, Features) else None
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        logits_NC = z_ND @ self.text_.T
        if tokens_NMD is not None:
            seen_NC, read_NC = self._attend(z_ND, tokens_NMD)
            logits_NC = logits_NC + self.beta2_ * seen_NC + self.beta3_ * read_NC
        return self.scale_ * logits_NC

    def _attend(self, z_ND: Tensor, tokens_NMD: Tensor) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C"]]:
        """(row against class-wise pictures, text-wise picture against classes), in blocks of rows."""
        if tokens_NMD.ndim != 3 or tokens_NMD.shape[2] != z_ND.shape[1] or not torch.isfinite(tokens_NMD).all():
            raise ValueError(
                f"tokens are finite and of shape (rows, patches, {z_ND.shape[1]}), got {tuple(tokens_NMD.shape)}: project them as the "
                f"image feature"
            )
        parts = []
        step = max(1, _BLOCK // max(tokens_NMD.shape[1] * len(self.text_), 1))
        for i in range(0, max(len(z_ND), 1), step):
            parts.append(attention(z_ND[i : i + step], unit(tokens_NMD[i : i + step].float()), self.text_))
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def attention(z_ND: Tensor, tokens_NMD: Tensor, text_CD: Tensor) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C"]]:
    """z . (softmax_m(A)^T T)_c and v . W_c of unit tokens: the two cross terms of the parameter-free attention."""
    A_NMC = 2 * tokens_NMD @ text_CD.T
    seen_NC = torch.einsum("nmc,nm->nc", A_NMC.softmax(1), torch.einsum("nmd,nd->nm", tokens_NMD, z_ND))
    read_NMD = A_NMC.softmax(2) @ text_CD
    return seen_NC, (read_NMD.mean(1) + read_NMD.amax(1)) @ text_CD.T
