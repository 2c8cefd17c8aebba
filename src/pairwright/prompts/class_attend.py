"""ClassAttend: each class's prompt looks at the image patches that resemble the class, and the image at those that resemble any class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.features import Features, check_finite
from pairwright.core.numerics import unit
from pairwright.prompts.cocoop import CoCoOp
from pairwright.prompts.fit import Descent, fit_tokens, labels_of, rows_of, scores
from pairwright.prompts.tokens import encode_with, frozen, prompt_ids, start_tokens

CARD = Card(
    name="CTP + TFT (task-oriented multi-modal mutual learning)",
    symbol="ClassAttend",
    paper="ctp-tft",
    title="Task-Oriented Multi-Modal Mutual Leaning for Vision-Language Models",
    year=2023,
    arxiv="2303.17169",
    where="section 3, class-aware text prompts and text-guided feature tuning",
    equation="a_bc = softmax_m(s t_bm . W_c),  W_c(b) = text([start] v + h(sum_m a_bcm t_bm) [name of c] [end]),  "
    "z'_b = unit(z_b + g sum_m p_bm t_bm),  p_b = softmax_m log sum_c exp(s t_bm . W_c);  h as in CoCoOp, t unit patch tokens",
    says="One image shift for all prompts, as in CoCoOp, blurs the classes; what each class finds in the image tells them apart.",
    needs="few labelled features with patch tokens + class names + the text tower",
    cost="that of CoCoOp: text tower on one row for each pair of image and class, in training and in use",
    use_when="images show other things beside what the label names, and the patches of the model carry names",
    not_when="one object fills the image; many classes; features without patch tokens (it is CoCoOp then)",
    aliases=("class-aware text prompt", "text-guided feature tuning", "CTP", "TFT", "mutual learning of prompts"),
    neighbours=("prompts/cocoop", "prompts/coop"),
    deviations=(
        "attention is cosines in the joint space at the model's own scale, without learned projections, and its queries are the class text "
        "of the context without an image: the paper's layers could not be read. Effect unknown",
        "the image side learns one weight g, and pools patches by how much they resemble any class, not once a class. Effect unknown",
        "trained on stored features, without random crops; effect unknown",
        "in our check all of the gain is the image side's: with g set to 0 after training, prompts by class are no better than CoCoOp's; "
        "beside the guided image they cost three points. With clearer patches they gained one alone and cost two",
    ),
    checks=("mechanism:class_attend",),
)


@dataclass
class ClassAttend(CoCoOp):
    """Class-aware prompts and text-guided image features, from patch tokens that are stored with the features: with
    ``seen = model.image(x, tokens=True)``, ``Features(seen.z_BD, y, encoder=model.fingerprint, tokens_NMD=seen.tokens_BMD)``.

    guide: start of g, the weight of the patches that resemble the classes; 0 starts from the image feature as it is. Features without
    tokens count as one patch that is the image itself: then every class sees the same, and this is CoCoOp. The rest as there.

    `fit` learns CoCoOp's tensors and ``guide_`` (1,). Use `logits` to classify.
    """

    guide: float = 1.0
    how: Descent = field(default_factory=lambda: Descent(epochs=10, batch=1))

    def fit(self, model: Any, names: Sequence[str], train: Features) -> ClassAttend:
        """Learn from labelled features of `model` with patch tokens; label c is names[c]."""
        ids_CL, M = prompt_ids(model, names, self.context)
        rows_of(train, model, self)
        y_N = labels_of(train, len(names), self)
        self.encoder_, self.tokens_ = model.fingerprint, train.tokens_NMD is not None
        self.context_ = start_tokens(model, ids_CL, M, self.context, self.per_class, self.seed).requires_grad_()
        leaves = self.parameters(model)
        self.guide_ = torch.full((1,), float(self.guide), device=model.device).requires_grad_()
        see = lambda rows: self.see(model, ids_CL, encoded(train.rows(rows.cpu()), model))
        self.losses_ = fit_tokens(self, model, ids_CL, see, y_N, [*leaves, self.guide_], how=self.how, seed=self.seed)
        for name in ("context_", "down_", "down_bias_", "up_", "up_bias_", "guide_"):
            setattr(self, name, getattr(self, name).detach())
        return self

    def see(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded) -> Encoded:
        """Images with what they show of the classes pointed out."""
        t_BMD = patches(image)
        likeness_BMC = model.scale * t_BMD @ self.query(model, ids_CL).T
        named_BD = torch.einsum("bm,bmd->bd", likeness_BMC.logsumexp(-1).softmax(-1), t_BMD)
        return image.with_z(unit(image.z_BD + self.guide_ * named_BD))

    def query(self, model: Any, ids_CL: Int[Tensor, "C L"]) -> Float[Tensor, "C D"]:
        """What each class looks for: its text as the context stands, without an image."""
        with torch.no_grad():
            return encode_with(model, ids_CL, self.context_).z_BD

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "B C D"]:
        """Unit class embeddings for each image, (B, C, D)."""
        if image is None:
            raise ValueError("class text depends on the image: use logits(model, names, x), or pass image=Encoded(z, tokens_BMD=...)")
        if self.tokens_ and image.tokens_BMD is None:
            raise ValueError("these prompts were learned with patch tokens: pass features that carry them")
        found_BCD = attended(patches(image), self.query(model, ids_CL), model.scale)
        B, C, _ = found_BCD.shape
        tokens = self.context_ + self.shift(found_BCD.flatten(0, 1))[:, None]
        return encode_with(model, ids_CL.repeat(B, 1), tokens).z_BD.view(B, C, -1)

    @torch.no_grad()
    def logits(self, model: Any, names: Sequence[str], x: Features, chunk: int = 16) -> Float[Tensor, "N C"]:
        """Class scores of image features; `chunk` images go through the text tower at once, with all classes each."""
        ids_CL, parts = self.ids(model, names), []
        rows_of(x, model, self)
        with frozen(model):
            for rows in torch.arange(len(x)).split(chunk) if len(x) else ():
                image = encoded(x.rows(rows), model)
                text_BCD = self.class_text(model, ids_CL, image)
                parts.append(scores(text_BCD, self.see(model, ids_CL, image).z_BD, model.scale))
        return torch.cat(parts).cpu() if parts else torch.zeros(0, len(names))


def attended(t_BMD: Float[Tensor, "B M D"], W_CD: Float[Tensor, "C D"], scale: float | Tensor) -> Float[Tensor, "B C D"]:
    """What each class finds in each image: patches in the mean, weighted by a softmax of their likeness to the class."""
    return (scale * t_BMD @ W_CD.T).softmax(1).mT @ t_BMD


def patches(image: Encoded) -> Float[Tensor, "B M D"]:
    """Unit patch tokens; where there are none, the image itself as the only one."""
    return image.z_BD[:, None] if image.tokens_BMD is None else unit(image.tokens_BMD)


def encoded(x: Features, model: Any) -> Encoded:
    """Stored features, with their patch tokens, on the model's device."""
    if x.tokens_NMD is not None:
        check_finite(x.tokens_NMD.flatten(1))
    return Encoded(x.z_ND, tokens_BMD=x.tokens_NMD).map(lambda t: t.to(model.device))
