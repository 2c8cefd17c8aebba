"""StyleTokens: prompts that follow an image's style, read as the mean and spread of its patches in every layer of the image tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Term, fit_tokens, labels_of, rows_of, scores
from pairwright.prompts.style_features import encoded, statistics_of
from pairwright.prompts.tokens import encode_with, frozen, prompt_ids, start_tokens

CARD = Card(
    name="StyLIP (multi-scale style-conditioned prompts)",
    symbol="StyleTokens",
    paper="stylip-ad-clip",
    title="In the Era of Prompt Learning with Vision-Language Models",
    year=2024,
    arxiv="2411.04892",
    where="section on StyLIP; StyLIP: Multi-Scale Style-Conditioned Prompt Learning for CLIP-based Domain Generalization (2302.09251)",
    equation="s_l = [mean_m h_lm ; std_m h_lm] of the patches h of layer l;  v_p(x) = v_p + sum_{l at p} (B_l relu(A_l s_l + a_l) + b_l);  "
    "W_c(x) = unit(text([start] v(x) [name of c] [end]) + sum_l G_l mean_m h_lm + g)",
    says="What changes between domains is style, and the statistics of feature maps hold it at every scale. Prompts made from them, fused "
    "with content features, classify domains that were never seen better than learned or feature-conditioned prompts.",
    needs="labelled features of several domains with style statistics (style_features makes them) + class names + the text tower",
    cost="text tower on one row for each pair of image and class, in training and in use, as CoCoOp; one pass of the image tower, before",
    use_when="images come from several domains and have to be classified in one that was not among them",
    not_when="one domain (CoOp, at a fraction of the cost); an image tower without a layer to read from; many classes times many images",
    aliases=("StyLIP", "style-conditioned prompts", "style projector", "domain generalization prompts", "AdaIN statistics"),
    also=("ip-clip",),
    neighbours=("prompts/cocoop", "prompts/coop", "recipes/ad_clip", "recipes/ip_clip"),
    deviations=(
        "a layer's token is added to a learned context token instead of taking its place, and last layers start at zero, so that learning "
        "starts from the hand-written prompt; with fewer places than layers, neighbouring layers share one. Effect unknown",
        "statistics are centred on the training rows and scaled by one number a layer, which the released code of AD-CLIP does not do; "
        "effect unknown",
        "mean and spread are concatenated, as in the text; that code averages the two. Effect unknown",
        "content='text' adds content to class text (StyLIP; the fusion itself is from memory of its text), 'tokens' to the context, as the "
        "equal content tokens of AD-CLIP and IP-CLIP do",
        "trained on stored features, without random crops; effect unknown",
        "in our check 9 of the 21 points remain when each image borrows the statistics of another one of its style: the rest is what "
        "the layers tell of the image itself, and on the way to the check it was gained in a single style as well",
    ),
    checks=("mechanism:style_tokens",),
)


@dataclass
class StyleTokens(CoOp):
    """Style-conditioned learned prompt (StyLIP): every image gets context tokens made from the style statistics of its patches.

    Train and classify rows that `style_features` made. reduce: hidden width of each layer's projector is 2 E / reduce (at least 1).
    content: where the mean patches of all layers are added: to the class ``text``, to the context ``tokens``, or ``none``. strength: of all
    that the image adds; 0 is CoOp. context, seed and how as in CoOp. Rows without statistics count as one patch in one layer, which is
    the image feature itself.

    `fit` learns ``context_`` and, stacked over J layers, ``down_``, ``up_``, ``content_`` and their biases. Use `logits` to classify.
    """

    context: int | str = "a photo of a {}."
    reduce: int = 6
    content: Literal["text", "tokens", "none"] = "text"
    strength: float = 1.0

    def fit(self, model: Any, names: Sequence[str], train: Features, *, terms: Sequence[Term] = ()) -> StyleTokens:
        """Learn from labelled features of `model`; label c is names[c]. terms: what a recipe adds to the loss."""
        if self.per_class:
            raise ValueError("StyleTokens shares its context between classes: leave per_class=False")
        if self.content not in ("text", "tokens", "none"):
            raise ValueError(f"unknown content {self.content!r}: choose text, tokens or none")
        ids_CL, M = prompt_ids(model, names, self.context)
        rows_of(train, model, self)
        y_N = labels_of(train, len(names), self)
        self.encoder_ = model.fingerprint
        self.context_ = start_tokens(model, ids_CL, M, self.context, False, self.seed).requires_grad_()
        seen = encoded(train, model)
        leaves = self.start(model, statistics_of(seen))
        self.losses_ = fit_tokens(self, model, ids_CL, seen.rows, y_N, [self.context_, *leaves], terms=terms, how=self.how, seed=self.seed)
        for name in [n for n, value in vars(self).items() if isinstance(value, Tensor)]:
            setattr(self, name, getattr(self, name).detach())
        return self

    def start(self, model: Any, s_NJW: Float[Tensor, "N J W"]) -> list[Tensor]:
        """The projectors, whose last layers are zero; the leaves that descent moves (none at strength 0)."""
        _, J, W = s_NJW.shape
        N, E = max(1, len(s_NJW)), self.context_.shape[-1]
        self.center_ = s_NJW.sum(0) / N
        size_J = ((s_NJW - self.center_).square().sum((0, 2)) / N).sqrt()
        self.spread_ = torch.where(size_J > 0, size_J, 1.0)
        hidden, out = max(1, W // self.reduce), {"text": model.width, "tokens": E, "none": 0}[self.content]
        draw = lambda *shape: torch.empty(*shape).uniform_(-(W**-0.5), W**-0.5, generator=generator("style", self.seed, *shape))
        zero = torch.zeros
        start = (draw(J, hidden, W), draw(J, hidden), zero(J, E, hidden), zero(J, E), zero(J, out, W // 2), zero(out))
        leaves = [t.to(model.device).requires_grad_(self.strength != 0 and t.numel() > 0) for t in start]
        self.down_, self.down_bias_, self.up_, self.up_bias_, self.content_, self.content_bias_ = leaves
        return [t for t in leaves if t.requires_grad]

    def normal(self, image: Encoded) -> Float[Tensor, "B J W"]:
        """The statistics of images, centred and scaled as the training rows say."""
        s_BJW = statistics_of(image)
        if s_BJW.shape[1:] != self.center_.shape:
            raise ValueError(
                f"these rows have style statistics of shape {tuple(s_BJW.shape[1:])} (layers, width), the learner was fitted on "
                f"{tuple(self.center_.shape)}: make both with style_features(model, images)"
            )
        return (s_BJW - self.center_) / self.spread_[:, None]

    def style(self, image: Encoded) -> Float[Tensor, "B J E"]:
        """One style token for each image and layer."""
        hidden_BJH = (torch.einsum("bjw,jhw->bjh", self.normal(image), self.down_) + self.down_bias_).relu()
        return torch.einsum("bjh,jeh->bje", hidden_BJH, self.up_) + self.up_bias_

    def contents(self, image: Encoded) -> Float[Tensor, "B X"]:
        """What the mean patches of all layers add to each image's text or tokens."""
        mean_BJE = self.normal(image)[..., : self.content_.shape[-1]]
        return torch.einsum("bje,jxe->bx", mean_BJE, self.content_) + self.content_bias_

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "B C D"]:
        """Unit class embeddings for each image, (B, C, D)."""
        if image is None:
            raise ValueError("class text depends on the image: use logits(model, names, x), or pass image=encoded(x, model)")
        style_BJE = self.style(image)
        (B, J, _), (M, _), C = style_BJE.shape, self.context_.shape, len(ids_CL)
        place_J = torch.arange(J, device=style_BJE.device) * M // J
        added_BME = style_BJE.new_zeros(B, M, style_BJE.shape[-1]).index_add(1, place_J, style_BJE)
        if self.content == "tokens":
            added_BME = added_BME + self.contents(image)[:, None]
        tokens_BME = self.context_ + self.strength * added_BME
        text_BCD = encode_with(model, ids_CL.repeat(B, 1), tokens_BME.repeat_interleave(C, 0)).z_BD.view(B, C, -1)
        return unit(text_BCD + self.strength * self.contents(image)[:, None]) if self.content == "text" else text_BCD

    def text(self, model: Any, names: Sequence[str]) -> ClassText:
        """Refused: see `logits`."""
        raise ValueError("StyleTokens has class text for each image, not one for all: classify with logits(model, names, x)")

    @torch.no_grad()
    def logits(self, model: Any, names: Sequence[str], x: Features, chunk: int = 16) -> Float[Tensor, "N C"]:
        """Class scores of image features; `chunk` images go through the text tower at once, with all classes each."""
        ids_CL, parts = self.ids(model, names), [torch.zeros(0, len(names))]
        rows_of(x, model, self)
        image = encoded(x, model)
        with frozen(model):
            for rows in torch.arange(len(x), device=image.z_BD.device).split(chunk) if len(x) else ():
                part = image.rows(rows)
                parts.append(scores(self.class_text(model, ids_CL, part), part.z_BD, model.scale).cpu())
        return torch.cat(parts)
