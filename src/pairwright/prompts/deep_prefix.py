"""Deep prompts: learned tokens inside a frozen tower, in front of every block (visual prompt tuning, independent prompts on both sides)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core import io
from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator
from pairwright.prompts.fit import Descent, GradientRule, Term, fit_tokens, labels_of
from pairwright.prompts.images import Images, encode_all, images_of
from pairwright.prompts.tokens import check_fitted, encode_with, frozen, prompt_ids, start_tokens

CARD = Card(
    name="VPT (visual prompt tuning)",
    symbol="DeepPrefix",
    paper="extra:vpt",
    title="Visual Prompt Tuning",
    year=2022,
    arxiv="2203.12119",
    where="section 3.2, equations 4 to 8",
    equation="[x_j, _] = block_j([x_{j-1}, v_j]),  v_j of (P, E) learned for the blocks j < J;  J = 1 is VPT-shallow, J = depth VPT-deep",
    says="A few learned tokens in front of every block of a frozen vision transformer rival full fine-tuning with 1% of its weights.",
    needs="few labelled images + class names + a plain ViT (with towers=('image', 'text'): a plain text transformer too)",
    cost="image tower forward and backward on every image in each step; then that of the tower on P more tokens",
    use_when="the images look different from what the model was trained on, while the class names are plain",
    not_when="what is unusual is the wording, not the images (coop, on cached features, tens of times quicker)",
    aliases=("visual prompt tuning", "VPT-deep", "VPT-shallow", "IVLP", "independent vision-language prompting", "deep prompts"),
    neighbours=("prompts/coop", "prompts/maple"),
    deviations=(
        "class text takes the place of the paper's new linear head, as when CLIP is prompted",
        "tokens stand behind the patches (attention does not see the order), enter after the tower's first norm, and start from "
        "N(0, 0.02^2) as in prompt learning on CLIP; the paper draws them uniformly by the patch size. Effect unknown",
        "length, rate and epochs are set without validation, as in prompt learning on CLIP; the paper tunes them for each data set",
    ),
    checks=("mechanism:deep_prefix",),
)


@dataclass
class DeepPrefix:
    """Visual prompt tuning: learned tokens inside the image tower (and the text tower, if asked for), trained on few labelled images.

    context: the template whose words stand in front of the class name; with ``"text"`` among the towers they are learned, and a number of
    random tokens may stand in their place. towers: which to put tokens into; ``("image",)`` is VPT, both are independent deep prompts
    (IVLP). length: tokens in the image tower, 0 leaves it as it is; the text tower gets as many as the context has. layers: how many blocks
    get tokens of their own, None for all. seed: of start and batches.

    `fit` learns ``image_`` (J, P, E) and, on the text side, ``context_`` (M, E) and ``text_`` (J - 1, M, E). Classify with
    ``image_features(model, images)`` and ``text(model, names)``, which any head takes.
    """

    context: int | str = "a photo of a {}."
    towers: tuple[str, ...] = ("image",)
    length: int = 4
    layers: int | None = None
    seed: int = 0
    how: Descent = field(default_factory=lambda: Descent(lr=2.5e-3, epochs=20, batch=4))

    def fit(self, model: Any, names: Sequence[str], train: Images) -> DeepPrefix:
        """Learn from labelled, preprocessed images; label c is names[c]. No rows leave the start as it is."""
        ids_CL, M = prompt_ids(model, names, self.context)
        images, y_N = images_of(train, self), labels_of(train, len(names), self)
        if odd := set(self.towers) - {"image", "text"}:
            raise ValueError(f"tokens go into the image tower, the text tower or both, not into {', '.join(sorted(odd))}")
        for tower in self.towers:
            if "deep" not in getattr(model.towers[tower], "points", ()):
                raise ValueError(
                    f"{type(self).__name__} puts tokens between the blocks of the {tower} tower, and this one "
                    f"({type(model.towers[tower]).__name__}) has no place for them: load a model with a plain ViT and text transformer"
                )
        self.encoder_ = model.fingerprint
        learned = self.start(model, ids_CL, M)
        for name, tokens in learned.items():
            setattr(self, name, tokens.to(model.device).requires_grad_(tokens.numel() > 0))
        self.losses_ = fit_tokens(
            self,
            model,
            ids_CL,
            lambda rows: self.see(model, images.batch(rows, model.device)),
            y_N,
            [getattr(self, name) for name in learned],
            terms=self.terms(model, names, images),
            rule=self.rule(),
            after_epoch=self.after_epoch(),
            how=self.how,
            seed=self.seed,
        )
        for name in learned:
            setattr(self, name, getattr(self, name).detach())
        return self

    def start(self, model: Any, ids_CL: Int[Tensor, "C L"], M: int) -> dict[str, Tensor]:
        """The learned tensors by name, before learning."""
        if "text" not in self.towers and not isinstance(self.context, str):
            raise ValueError(f"without tokens in the text tower the context is a template, got {self.context}: write 'a photo of a {{}}.'")
        context_ME = start_tokens(model, ids_CL, M, self.context, False, self.seed)
        return {
            "context_": context_ME if "text" in self.towers else context_ME[:0],
            "text_": self.draw(model, "text", M)[1:],
            "image_": self.draw(model, "image", self.length),
        }

    def draw(self, model: Any, tower: str, P: int) -> Float[Tensor, "J P E"]:
        """Tokens from N(0, 0.02^2) for the first `layers` blocks of a tower; none where it is not among the towers."""
        if tower not in self.towers:
            return torch.zeros(0, 0, 1)
        depth, E = model.towers[tower].depth, model.towers[tower].encoder_width
        J = depth if self.layers is None else min(self.layers, depth)
        return 0.02 * torch.randn(J, P, E, generator=generator("deep prompts", self.seed, tower))

    def see(self, model: Any, x_B3HW: Float[Tensor, "B 3 H W"]) -> Encoded:
        """Images through the tower with the learned tokens."""
        return model.image(x_B3HW, deep=self.deep("image"))

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "C D"]:
        """Unit class embeddings (C, D)."""
        return encode_with(model, ids_CL, self.context_, self.deep("text")).z_BD

    def deep(self, tower: str) -> list[Tensor]:
        """The tokens of each block. Those of the text tower's first block are its context, which has positions."""
        if tower == "image":
            return list(self.image_)
        return [self.context_[:0], *self.text_] if len(self.text_) else []

    def image_features(self, model: Any, images: Images | Tensor, chunk: int = 64) -> Features:
        """Features of preprocessed images in the space of `text`; they do not mix with those of the plain model."""
        check_fitted(self, model)
        images = images if isinstance(images, Images) else Images(images)
        with torch.no_grad(), frozen(model):
            z_ND = encode_all(images, lambda x: self.see(model, x).z_BD, model, chunk)
        return Features(z_ND.cpu(), images.y_N, encoder=self.fingerprint)

    def text(self, model: Any, names: Sequence[str]) -> ClassText:
        """The class text of some class names, for heads on `image_features`."""
        with torch.no_grad(), frozen(model):
            W_CD = self.class_text(model, self.ids(model, names))
        return ClassText(W_CD.float().cpu(), tuple(names), encoder=self.fingerprint, scale=float(model.scale.detach()))

    def ids(self, model: Any, names: Sequence[str]) -> Int[Tensor, "C L"]:
        """Token rows of class names; refuses a model that the tokens were not learned for."""
        check_fitted(self, model)
        return prompt_ids(model, names, self.context)[0]

    @property
    def fingerprint(self) -> str:
        """Of the model with these tokens."""
        own = {n: t for n, t in vars(self).items() if isinstance(t, Tensor) and n != "losses_"}
        return f"{self.encoder_}+{io.hash_tensors(own)[:8]}"

    def terms(self, model: Any, names: Sequence[str], images: Images) -> tuple[Term, ...]:
        """What is added to the cross-entropy."""
        return ()

    def rule(self) -> GradientRule | None:
        """How gradients of the parts are combined; None: their sum."""
        return None

    def after_epoch(self) -> Callable[[int, int], None] | None:
        """What is done behind each epoch."""
        return None
