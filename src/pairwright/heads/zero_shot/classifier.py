"""Zero-shot classification: cosine of image and class text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs

CARD = Card(
    name="zero-shot classifier",
    symbol="ZeroShot",
    paper="extra:clip",
    title="Learning Transferable Visual Models From Natural Language Supervision",
    year=2021,
    arxiv="2103.00020",
    where="section 3.1.2",
    equation="logits = scale * z W^T",
    says="A text encoder makes a linear classifier from the names of the classes alone.",
    needs="class text",
    cost="one matrix product",
    use_when="there are no labels, or as the floor that every few-shot head has to beat",
    not_when="class names mean little to the model (codes, jargon): describe them, or label a few rows",
    aliases=("zero-shot", "CLIP classifier", "prompt classifier"),
    neighbours=("heads/zero_shot/prompt_ensemble", "heads/zero_shot/description_ensemble", "heads/cache/tip_adapter"),
)


@dataclass
class ZeroShot:
    """Zero-shot classifier: the class whose text is nearest to the image, logits = scale * z W^T.

    scale: logit scale; None takes that of the class text. Learns nothing from `train`, which may be None.

    >>> import torch
    >>> head = ZeroShot().fit(None, ClassText(torch.eye(2), ("cat", "dog")))
    >>> head.logits(torch.tensor([[1.0, 0.0]])).tolist()
    [[100.0, 0.0]]
    """

    scale: float | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float]] = {}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ZeroShot:
        text = inputs.class_text_of(text, self)
        self.text_, self.encoder_ = text.W_CD, text.encoder
        self.scale_ = text.scale if self.scale is None else self.scale
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "text_")
        return self.scale_ * inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self) @ self.text_.T
