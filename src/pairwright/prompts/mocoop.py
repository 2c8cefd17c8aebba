"""MoCoOp: several contexts, one for each group of hand-written templates, mixed for each image by a router."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent, Step, Term, fit_tokens, labels_of, rows_of, scores
from pairwright.prompts.tokens import check_fitted, encode_with, frozen, hand_text, prompt_ids, start_tokens

CARD = Card(
    name="MoCoOp (mixture of prompts)",
    symbol="MoCoOp",
    paper="mocoop",
    title="Mixture of Prompt Learning for Vision Language Models",
    year=2024,
    arxiv="2409.12011",
    where="section 3: mixture, gating loss, group text supervision",
    equation="W_c(z) = unit(sum_g a_g(z) W_gc),  a = softmax of the k largest of s z R;  "
    "loss = CE + gate KL(softmax(s z H) | softmax(s z R)) + hold mean_gc CE(s W_gc T_g^T, c),  T_g class text of group g's templates, "
    "H_g their mean",
    says="One soft prompt cannot serve a data set of several styles; a router over prompts, taught by hard templates, can.",
    needs="few labelled features + class names + the text tower + groups of hand-written templates",
    cost="text tower forward and backward on two rows for each class and group in a step; then one row each",
    use_when="images of several looks under the same classes, and templates that name the looks",
    not_when="images of one kind (coop); looks that vary without groups (cocoop)",
    aliases=("mixture of prompt learning", "mixture of prompts", "prompt routing"),
    neighbours=("prompts/coop", "prompts/cocoop"),
    deviations=(
        "the gate's teacher compares the image with the mean over classes of each group's text, and both weights are 1: read from the "
        "abstract and plan, the paper's exact form could not be checked. Effect unknown",
        "trained on stored features, without the random crops of the paper; effect unknown",
        "in our check (two looks, which no template names, one start for both contexts, AdamW for CoOp too) routing gains 7 points, 1.5 "
        "of them without right routing; where the contexts start from different templates, their plain mean, without a router, gains as "
        "much over CoOp, and after twice the steps more. With the templates' terms at weight 1, 0 to 3 points are left",
    ),
    checks=("mechanism:mocoop",),
)
GROUPS = (
    ("a photo of a {}.", "a good photo of a {}."),
    ("a drawing of a {}.", "a sketch of a {}."),
    ("a close-up photo of a {}.", "a cropped photo of a {}."),
    ("a dark photo of a {}.", "a bad photo of a {}."),
)


@dataclass(frozen=True)
class Gate:
    """weight x KL of the router's distribution over groups from that of the image's similarity to each group's templates."""

    target_GD: Tensor
    router_GD: Tensor
    scale: Tensor
    weight: float
    name: str = "gate"

    def __call__(self, step: Step) -> Tensor:
        own, teacher = (scores(x, step.image.z_BD, self.scale).log_softmax(-1) for x in (self.router_GD, self.target_GD))
        return self.weight * kl_div(own, teacher, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class GroupText:
    """weight x mean cross-entropy by which the class text of each group names the class text of its own templates."""

    text: Any
    target_GCD: Tensor
    scale: Tensor
    weight: float
    name: str = "group text"

    def __call__(self, step: Step) -> Tensor:
        logits_GCC = self.scale * self.text() @ self.target_GCD.mT
        G, C, _ = logits_GCC.shape
        return self.weight * cross_entropy(logits_GCC.flatten(0, 1), torch.arange(C, device=logits_GCC.device).repeat(G))


@dataclass
class MoCoOp(CoOp):
    """Mixture of learned prompts: a router picks, for each image, among contexts that started from groups of templates.

    groups: hand-written templates by group; the words of a group's first are where its context starts, unless `context` says otherwise (a
    number of random tokens, or one template for all). top: how many groups an image takes. gate, hold: weights of what the templates teach
    the router and the contexts. One group with both weights 0 is CoOp. Use `logits` to classify: class text depends on the image.
    """

    context: int | str | None = None
    groups: Sequence[Sequence[str]] = GROUPS
    top: int = 2
    gate: float = 1.0
    hold: float = 1.0
    how: Descent = field(default_factory=Descent)

    def fit(self, model: Any, names: Sequence[str], train: Features) -> MoCoOp:
        """Learn from labelled features of `model`; label c is names[c]."""
        if self.per_class or not self.groups or self.top < 1:
            raise ValueError(
                f"MoCoOp has one group or more, shared by all classes, and takes at least one; got {len(self.groups)}, top={self.top}"
            )
        rows = self._rows(model, names)
        z_ND, y_N = rows_of(train, model, self), labels_of(train, len(names), self)
        self.encoder_ = model.fingerprint
        start = [start_tokens(model, ids, M, self._start(g), False, self.seed + g) for g, (ids, M) in enumerate(rows)]
        self.context_ = torch.cat(start).requires_grad_()
        self.sizes_ = torch.tensor([M for _, M in rows])
        D = model.width
        draw = torch.empty(len(rows), D).uniform_(-(D**-0.5), D**-0.5, generator=generator("router", self.seed, len(rows), D))
        self.router_ = draw.to(model.device).requires_grad_()
        ids_GCL = torch.stack([ids for ids, _ in rows])
        self.losses_ = fit_tokens(
            self,
            model,
            ids_GCL,
            z_ND,
            y_N,
            [self.context_, self.router_],
            terms=self.taught(model, names, ids_GCL),
            how=self.how,
            seed=self.seed,
        )
        self.context_, self.router_ = self.context_.detach(), self.router_.detach()
        return self

    def taught(self, model: Any, names: Sequence[str], ids_GCL: Int[Tensor, "G C L"]) -> tuple[Term, ...]:
        """What the templates teach."""
        target_GCD = torch.stack([hand_text(model, names, list(group)) for group in self.groups])
        scale = model.scale.detach()
        gate = Gate(unit(target_GCD.mean(1)), self.router_, scale, self.gate)
        hold = GroupText(lambda: self.group_text(model, ids_GCL), target_GCD, scale, self.hold)
        return (*([gate] if self.gate else []), *([hold] if self.hold else []))

    def group_text(self, model: Any, ids_GCL: Int[Tensor, "G C L"]) -> Float[Tensor, "G C D"]:
        """Class text of each group's context."""
        own = self.context_.split(self.sizes_.tolist())
        return torch.stack([encode_with(model, ids_CL, context).z_BD for ids_CL, context in zip(ids_GCL, own)])

    def shares(self, z_BD: Float[Tensor, "B D"], scale: float | Tensor) -> Float[Tensor, "B G"]:
        """How much each image takes of each group: a softmax over the `top` largest."""
        logits_BG = scores(self.router_, z_BD, scale)
        best = logits_BG.topk(min(self.top, logits_BG.shape[1]), dim=1)
        return torch.zeros_like(logits_BG).scatter(1, best.indices, best.values.softmax(1))

    def class_text(self, model: Any, ids_CL: Int[Tensor, "G C L"], image: Encoded | None = None) -> Float[Tensor, "B C D"]:
        """Unit class embeddings for each image, (B, C, D), from the token rows of all groups."""
        if image is None:
            raise ValueError("MoCoOp's class text depends on the image: use logits(model, names, z), or pass image=Encoded(z)")
        return self.mixed(self.group_text(model, ids_CL), image.z_BD, model.scale)

    def mixed(self, text_GCD: Float[Tensor, "G C D"], z_BD: Float[Tensor, "B D"], scale: float | Tensor) -> Float[Tensor, "B C D"]:
        return unit(torch.einsum("bg,gcd->bcd", self.shares(z_BD, scale), text_GCD))

    def ids(self, model: Any, names: Sequence[str]) -> Int[Tensor, "G C L"]:
        """Token rows of class names for each group."""
        check_fitted(self, model)
        return torch.stack([ids for ids, _ in self._rows(model, names)])

    def text(self, model: Any, names: Sequence[str]) -> ClassText:
        """Refused: see `logits`."""
        raise ValueError("MoCoOp has class text for each image, not one for all: classify with logits(model, names, z)")

    @torch.no_grad()
    def logits(self, model: Any, names: Sequence[str], x: Features, chunk: int = 256) -> Float[Tensor, "N C"]:
        """Class scores of image features."""
        ids_GCL, z_ND = self.ids(model, names), rows_of(x, model, self).to(model.device)
        with frozen(model):
            text_GCD = self.group_text(model, ids_GCL)
        parts = [scores(self.mixed(text_GCD, z, model.scale), z, model.scale) for z in z_ND.split(chunk)]
        return torch.cat(parts).cpu()

    def _start(self, g: int) -> int | str:
        return self.groups[g][0] if self.context is None else self.context

    def _rows(self, model: Any, names: Sequence[str]) -> list[tuple[Tensor, int]]:
        return [prompt_ids(model, names, self._start(g)) for g in range(len(self.groups))]
