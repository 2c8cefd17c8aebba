"""LFA: one linear map that turns image features towards the class text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads import inputs
from pairwright.heads.descent import by_content, descend, precision

CARD = Card(
    name="LFA (linear feature alignment)",
    symbol="LFA",
    paper="lfa",
    title="Black Box Few-Shot Adaptation for Vision-Language models",
    year=2023,
    arxiv="2304.01752",
    where="sections 3.2 to 3.4",
    equation="logits = scale unit(z M) W^T,  M from (1 - beta) U V^T + beta I with U S V^T = svd(Z^T W[y]), refined on mean over the k "
    "nearest classes c of max(0, |z M - W_y| + (1 - W_y . W_c) / 4 - |z M - W_c|)",
    says="Realigning the two feature spaces with one matrix, from stored features only, matches soft prompts at a fraction of their cost.",
    needs="few labelled features + class text",
    cost="a singular value decomposition of D x D and 200 passes over at most 2,048 rows; then one D x D product",
    use_when="images of a new domain are shifted or turned as a whole against the text; encoders that were never aligned with each other",
    not_when="the spaces are aligned already; classes that have no shots when the seen classes span few of the dimensions",
    aliases=("LFA", "linear feature alignment", "Procrustes alignment", "black box adaptation"),
    neighbours=("heads/linear/clip_adapter", "heads/linear/gda", "heads/linear/text_residual"),
    deviations=(
        "refined on all rows up to 2,048 at a time, where the paper takes a random 75% of them each step; no feature dropout. Effect "
        "unknown",
        "beta is the largest among equally good ones (the paper's is the smallest): nearest to doing nothing",
        "where the class texts do not span the space, of all best turns the one nearest to the identity; the released code takes what the "
        "singular value routine returns. Seen classes score the same, unseen ones keep more of their zero-shot accuracy (test)",
        "classes are seen as labelled rows; the unsupervised variant with assignments by optimal transport is not here",
    ),
    checks=("mechanism:lfa",),
)

BETAS = tuple(i / 24 for i in range(25))


@dataclass
class LFA:
    """Few-shot classifier that learns one linear map of the image features towards the class text, then scores as zero-shot.

    beta: pull of the start to the identity, 0 is orthogonal Procrustes, 1 the identity; None chooses it by three splits of the training
    rows into 80% and 20%, as the paper does (on `val` where that is given); fewer than five rows take 0.85. steps: of refinement by AdamW
    at `lr` with the re-ranking loss over the `nearest` classes, with Gaussian noise of `noise` on every feature channel in half of the
    steps. beta=1 with steps=0, or no shots, is zero-shot. map_ is the (D, D) matrix.
    """

    beta: float | None = None
    steps: int = 200
    lr: float = 5e-4
    nearest: int = 3
    noise: float = 0.035
    seed: int = 0

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"beta": 1.0, "steps": 0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> LFA:
        text = inputs.class_text_of(text, self)
        train, y_N, classes = inputs.labelled(train, text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        order = by_content(train.z_ND)
        dtype = precision(len(train), *text.W_CD.shape)
        z_ND, y_N, W_CD = train.z_ND[order].to(dtype), y_N[order], text.W_CD.to(dtype)
        held = inputs.labelled(val, text, self)[:2] if val is not None else None
        self.beta_ = self.beta if self.beta is not None else self._choose(z_ND, y_N, W_CD, held)
        map_DD = procrustes(z_ND, W_CD[y_N], self.beta_).requires_grad_()
        rng = generator("lfa noise", self.seed)
        gram_CC = W_CD @ W_CD.T

        def loss(rows: Tensor) -> Tensor:
            x_ND = z_ND[rows]
            if torch.rand((), generator=rng) > 0.5:
                x_ND = x_ND + self.noise * torch.randn(x_ND.shape, generator=rng, dtype=dtype)
            return rerank_loss(unit(x_ND @ map_DD), W_CD, gram_CC, y_N[rows], min(self.nearest, classes))

        if len(train):
            descend([map_DD], loss, len(train), lr=self.lr, epochs=self.steps, batch=2048, most_steps=self.steps, decay=5e-4, key="lfa")
        self.map_ = map_DD.detach().float().contiguous()
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "map_")
        return self.scale_ * unit(inputs.rows(z_ND, len(self.map_), self.encoder_, self) @ self.map_) @ self.text_.T

    def _choose(self, z_ND: Tensor, y_N: Tensor, W_CD: Tensor, held: tuple[Features, Tensor] | None) -> float:
        """The beta whose start classifies held-out rows best: `held`, or three times a fifth of the training rows."""
        N = len(z_ND)
        if N == 0:
            return 1.0
        if held is not None:
            splits = [(z_ND, y_N, held[0].z_ND.to(z_ND.dtype), held[1])]
        elif N < 5:
            return 0.85
        else:
            orders = [torch.randperm(N, generator=generator("lfa split", self.seed, N, i)) for i in range(3)]
            splits = [(z_ND[o[: N * 4 // 5]], y_N[o[: N * 4 // 5]], z_ND[o[N * 4 // 5 :]], y_N[o[N * 4 // 5 :]]) for o in orders]
        score = dict.fromkeys(BETAS, 0.0)
        for fit_ND, fit_N, test_ND, test_N in splits:
            turned, plain = test_ND @ procrustes(fit_ND, W_CD[fit_N], 0.0) @ W_CD.T, test_ND @ W_CD.T  # row lengths do not move the arg-max
            for beta in BETAS:
                score[beta] += inputs.accuracy((1 - beta) * turned + beta * plain, test_N)
        return max(BETAS, key=lambda b: (round(score[b], 9), b))


def procrustes(z_ND: Tensor, target_ND: Tensor, beta: float) -> Float[Tensor, "D D"]:
    """(1 - beta) times the orthogonal matrix that turns z nearest to its targets, plus beta times the identity.

    Fewer targets than dimensions leave that matrix open where nothing is seen; a hundred-thousandth of the identity picks the one that
    turns least.
    """
    identity_DD = torch.eye(z_ND.shape[1], dtype=z_ND.dtype)
    if len(z_ND) == 0 or beta == 1:
        return identity_DD
    cross_DD = z_ND.T @ target_ND
    u_DD, _, vt_DD = torch.linalg.svd(cross_DD + 1e-5 * torch.linalg.matrix_norm(cross_DD) * identity_DD)
    return (1 - beta) * u_DD @ vt_DD + beta * identity_DD


def rerank_loss(x_ND: Tensor, W_CD: Tensor, gram_CC: Tensor, y_N: Tensor, nearest: int) -> Tensor:
    """Mean over rows and their `nearest` classes of the hinge whose margin grows with the distance of the two class texts."""
    distance_NC = (2 - 2 * x_ND @ W_CD.T).clamp_min(1e-12).sqrt()
    near_NK, class_NK = distance_NC.topk(nearest, largest=False)
    margin_NK = (1 - gram_CC[y_N[:, None], class_NK]) / 4
    return (distance_NC.gather(1, y_N[:, None]) + margin_NK - near_NK).relu().mean()
