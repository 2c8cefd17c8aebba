"""Ranking-aware adapter: scores that sort images by an instruction in words, learned from grades and from pairs of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, layer_norm, one_hot, smooth_l1_loss

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features, check_finite, check_same_encoder
from pairwright.core.numerics import generator
from pairwright.heads import inputs
from pairwright.heads.descent import by_content, descend, precision

CARD = Card(
    name="RankingAwareCLIP (ranking-aware adapter)",
    symbol="RankingAware",
    paper="rankingawareclip",
    title="Ranking-aware adapter for text-driven image ordering with CLIP",
    year=2025,
    arxiv="2412.06760",
    where="section 3, the ranking-aware attention and the losses of the two branches; constants from the released code",
    equation="h = LN(x A + softmax(x Q [W_c; P]^T K) [W_c; P] V),  s = MLP(sum_m h_m),  one softmax a over the 2M tokens of i and j:  "
    "d_ij = sum_m a_im v_im - sum_m a_jm v_jm,  "
    "loss = .2 log(1 + smoothL1(s, y)) + pair (BCE(MLP(d_ij), 1[y_i > y_j]) + BCE(s_i - s_j, 1[y_i > y_j]))",
    says="A light adapter that also learns which of two images comes first sorts by age, quality or count better than fine-tuned CLIP.",
    needs="features of graded images + the embedding of each instruction; patch tokens where there are any",
    cost="`steps` small steps with batch^2 pairs each; then one thin network for each instruction, without the branch of pairs",
    use_when="images are to be sorted by a word ('by age', 'by sharpness') and a hundred or more are graded, grades on any scale",
    not_when="names alone are to decide (zero-shot cosines); a plain classification (heads/linear/logistic)",
    aliases=("RankingAwareCLIP", "learning to rank", "sort images by text", "image ordering", "ordinal regression", "age, quality, count"),
    neighbours=("heads/linear/clip_adapter", "heads/linear/one_vs_rest"),
    deviations=(
        "works on stored features: tokens are the pooled feature and, where given, patch tokens in the joint space; an instruction is one "
        "embedding, where the paper attends to all its words. Effect unknown",
        "one layer of attention with 4 heads and networks with one hidden layer, where the paper stacks two layers and a transformer "
        "encoder: hundreds of graded images are few. Effect unknown",
        "the order is taught to differences of scores as well as to the branch of pairs, where the released code chooses one of the two: "
        "with exponential grades and 150 steps the branch alone gained 0.10 on one seed and lost 0.01 on another; both together gain 0.24",
        "in those 150 steps, the default, comparing images gains 0.04 on an even scale too: it learns sooner. The check takes 400, after "
        "which regression alone has caught up there, so that what is left is owed to the crooked scale",
        "pairs of equal grades are left out; the released code trains them, and each image with itself, as 'not greater'. Effect unknown",
        "learned prompt tokens are free vectors; in the released code each is one number repeated over the width. Effect unknown",
        "grades have mean 0 and variance 1 for each instruction while learning, and scores are scaled back",
    ),
    checks=("mechanism:ranking_aware",),
)

HEADS = 4
REGRESSION = 0.2
_SCORING = ("prompts", "query", "key", "value", "image", "hidden", "out", "shift")
_BLOCK = 2**12


@dataclass
class RankingAware:
    """Sorts images by an instruction ('by age', 'sharpest first'): a text-conditioned score learned from graded examples and their order.

    The class text holds one embedding for each instruction. Grades are `train.y_N`, integers (N, C): -1 where an image is not graded under
    an instruction (multiply finer grades first: only order and proportion count); labels (N,) count as grade 1 under their class and 0
    under others. Column c of logits sorts by instruction c and estimates its grade. pair: weight of the losses that compare images, 0
    is an ordinary regression. width: of the network (a multiple of 4). prompts: learned tokens beside the instruction. queries: of the
    ranking-aware attention. Every step takes one instruction and `batch` images graded under it. There is nothing to choose on val.
    """

    pair: float = 1.0
    width: int = 32
    prompts: int = 8
    queries: int = 4
    steps: int = 150
    batch: int = 16
    lr: float = 5e-3
    seed: int = 0

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text", "grades"})
    neutral: ClassVar[dict[str, float] | None] = None
    multi_hot: ClassVar[bool] = True

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> RankingAware:
        text = inputs.class_text_of(text, self)
        if self.width < HEADS or self.width % HEADS or self.batch < 2:
            raise ValueError(f"width is a multiple of {HEADS} and batch at least 2; got width={self.width}, batch={self.batch}")
        grade_NC = graded(train, text, self)
        order_N, order_C = by_content(train.z_ND), by_content(text.W_CD)
        x_NMD, grade_NC = tokens(train)[order_N], grade_NC[order_N]
        self.text_, self.encoder_, self.patches_ = text.W_CD, train.encoder or text.encoder, train.tokens_NMD is not None
        seen_NC = grade_NC >= 0
        count_C = seen_NC.sum(0).clamp_min(1)
        self.mean_ = (grade_NC * seen_NC).sum(0) / count_C
        self.spread_ = (((grade_NC - self.mean_) * seen_NC).square().sum(0) / count_C).sqrt()
        dtype = precision(self.batch, self.batch, self.queries, self.width, self.width)
        y_NC = ((grade_NC - self.mean_) / self.spread_.clamp_min(1e-6)).to(dtype)
        rows = [seen_NC[:, c].nonzero().squeeze(1) for c in order_C.tolist() if self.spread_[c] > 0]
        asked = [c for c in order_C.tolist() if self.spread_[c] > 0]
        p = start(text.W_CD.shape[1], self.width, self.prompts, self.queries, self.seed, dtype)
        rng = generator("ranking_aware", self.seed)

        def loss(pick: Tensor) -> Tensor:
            rows_n = rows[int(pick)]
            rows_b = rows_n[torch.randperm(len(rows_n), generator=rng)[: self.batch]]
            h_bME, y_b = fused(p, x_NMD[rows_b].to(dtype), text.W_CD[asked[int(pick)]].to(dtype)), y_NC[rows_b, asked[int(pick)]]
            s_b = score(p, h_bME)
            total = REGRESSION * torch.log1p(smooth_l1_loss(s_b, y_b))
            if self.pair:
                total = total + self.pair * (in_order(versus(p, h_bME), y_b) + in_order(s_b[:, None] - s_b[None], y_b))
            return total

        free = [t for name, t in p.items() if self.pair or name in _SCORING]
        if asked:
            descend(free, loss, len(asked), lr=self.lr, epochs=self.steps, batch=1, most_steps=self.steps, key="ranking_aware")
        for name in _SCORING:
            setattr(self, f"{name}_", p[name].detach().float())
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """The score of each row under each instruction, in units of the grades (array, tensor, or Features, with tokens if fitted so)."""
        inputs.fitted(self, "prompts_")
        if self.patches_ and (not isinstance(z_ND, Features) or z_ND.tokens_NMD is None):
            raise ValueError("this RankingAware was fitted with patch tokens: give Features with tokens_NMD, or fit it without")
        z = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        x_NMD = tokens(z_ND) if self.patches_ else z[:, None]
        p = {name: getattr(self, f"{name}_") for name in _SCORING}
        step = max(1, _BLOCK // x_NMD.shape[1])
        parts = []
        for i in range(0, max(len(z), 1), step):
            parts.append(torch.stack([score(p, fused(p, x_NMD[i : i + step], w_D)) for w_D in self.text_], 1))
        return self.mean_ + self.spread_ * torch.cat(parts)


def graded(train: Features | None, text: ClassText, who: object) -> Tensor:
    """Grades (N, C) of rows under instructions, float32, -1 where there is none."""
    if train is None or train.y_N is None or train.y_N.ndim == 1:
        _, y_N, classes = inputs.labelled(train, text, who)
        grade_NC = one_hot(y_N, classes)
    else:
        check_finite(train.z_ND)
        check_same_encoder(train, text)
        grade_NC = train.y_N
        if grade_NC.shape[1] != len(text) or (grade_NC < -1).any():
            raise ValueError(
                f"grades are integers from 0 on, or -1 for none, one column for each of {len(text)} instructions; these have the shape "
                f"{tuple(grade_NC.shape)} and start at {int(grade_NC.min())}: shift and round them first"
            )
    if not (grade_NC >= 0).any():
        raise ValueError("sorting is learned from graded rows, and there is none: with words alone use ZeroShot")
    return grade_NC.float()


def tokens(x: Features) -> Float[Tensor, "N M D"]:
    """The pooled feature, and behind it the patch tokens where there are any."""
    if x.tokens_NMD is None:
        return x.z_ND[:, None]
    return torch.cat([x.z_ND[:, None], x.tokens_NMD.float()], 1)


def start(D: int, E: int, K: int, Q: int, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """The first weights: those of the score, and those of the comparison (against_...)."""
    rng = generator("ranking_aware start", seed)
    normal = lambda *size: torch.randn(*size, generator=rng, dtype=torch.float64)
    linear = lambda i, o: normal(i, o) * i**-0.5
    p = {"prompts": normal(K, D) * D**-0.5, **{name: linear(D, E) for name in ("query", "key", "value", "image")}}
    p |= {"hidden": linear(E, E), "out": linear(E, 1), "shift": normal(1) * 0}
    p |= {"against_query": normal(Q, E), "against_value": linear(E, E), "against_hidden": linear(E, E), "against_out": linear(E, 1)}
    return {name: t.to(dtype).requires_grad_() for name, t in p.items()}


def norm(x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:])


def fused(p: dict[str, Tensor], x_BMD: Tensor, text_D: Tensor) -> Float[Tensor, "B M E"]:
    """Image tokens that have attended to the instruction and the learned prompts."""
    D = x_BMD.shape[-1]
    t_KD = torch.cat([text_D[None], p["prompts"]]) * D**0.5  # unit rows to unit variance
    x_BMD = x_BMD * D**0.5
    split = lambda t: t.unflatten(-1, (HEADS, -1))
    q, k, v = split(x_BMD @ p["query"]), split(t_KD @ p["key"]), split(t_KD @ p["value"])
    a = (torch.einsum("bmhe,khe->bmhk", q, k) / q.shape[-1] ** 0.5).softmax(-1)
    return norm(x_BMD @ p["image"] + torch.einsum("bmhk,khe->bmhe", a, v).flatten(2))


def in_order(logits_BB: Tensor, y_B: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy of 'i comes before j' over the pairs with different grades; 0 where there is none."""
    differ_BB = (y_B[:, None] != y_B[None]).to(logits_BB.dtype)
    first_BB = (y_B[:, None] > y_B[None]).to(logits_BB.dtype)
    total = binary_cross_entropy_with_logits(logits_BB, first_BB, differ_BB, reduction="sum")
    return total / differ_BB.sum().clamp_min(1)


def score(p: dict[str, Tensor], h_BME: Tensor) -> Float[Tensor, " B"]:
    """The regressor: one number for each image."""
    return (norm(h_BME.sum(1) @ p["hidden"]).relu() @ p["out"]).squeeze(-1) + p["shift"]


def versus(p: dict[str, Tensor], h_BME: Tensor) -> Float[Tensor, "B B"]:
    """Ranking-aware attention: log-odds that image i comes before image j, from one softmax over the tokens of both."""
    v_BME = norm(h_BME @ p["against_value"])
    reach_BQM = torch.einsum("qe,bme->bqm", norm(p["against_query"]), v_BME) / v_BME.shape[-1] ** 0.5
    mass_BQ = reach_BQM.logsumexp(-1)
    own_BQE = reach_BQM.softmax(-1) @ v_BME  # a softmax over both = one within each image, times the image's share of the mass
    share_BBQ = (mass_BQ[:, None] - mass_BQ[None]).sigmoid()[..., None]
    d_BBE = (share_BBQ * own_BQE[:, None] - (1 - share_BBQ) * own_BQE[None]).sum(2)
    return (norm(d_BBE @ p["against_hidden"]).relu() @ p["against_out"]).squeeze(-1)
