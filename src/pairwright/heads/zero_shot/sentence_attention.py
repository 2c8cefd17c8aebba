"""CLIP-A-self: attention over the sentences that describe a class, learned from a few images, learns which kind of sentence to trust."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from pairwright.heads.zero_shot.prompt_ensemble import single_prompts

CARD = Card(
    name="CLIP-A-self (sentence attention)",
    symbol="SentenceAttention",
    paper="gpt-4-vdt-clip-a-self",
    title="Enhancing CLIP with GPT-4: Harnessing Visual Descriptions as Prompts",
    year=2023,
    arxiv="2307.11661",
    where="section 3.3",
    equation="w_c = unit(mean_p ((1 - ratio) s_cp + ratio sum_q softmax_q(s_cp Q (s_cq K)^T / sqrt(E)) (s_cq + s_cq V O))), "
    "Q, K, V (D, E), O (E, D) shared by all classes, learned by cross-entropy, O = 0 at first",
    says="A light self-attention over a class's generated sentences learns to pick the useful ones, and carries over to new classes.",
    needs="class text with several sentences a class + few labelled features of some classes",
    cost="at most 1,500 steps, each over all sentences of the seen classes; then that of zero-shot",
    use_when="many generated sentences of mixed quality, where useful ones have something in common; classes will be added later",
    not_when="sentences that are all good (their mean is as good); fewer than a few shots; quirks of single classes (text_residual)",
    aliases=("CLIP-A-self", "VDT-Adapter", "sentence self-attention", "description selection", "GPT-4 prompts"),
    neighbours=("heads/zero_shot/description_ensemble", "heads/zero_shot/prompt_ensemble", "heads/linear/text_residual"),
    deviations=(
        "values keep the sentence and add a learned change that starts at 0, and there is no layer norm and no dropout: at ratio 0 this is "
        "the mean of the sentences. The released adapter starts with random values; on the data of the check it learns the seen "
        "classes as well but falls below the plain mean on new ones (0.67 against 0.75), where this gains",
        "values=False, which learns the choice of sentences and nothing else, transfers best in the check; the paper's has values",
        "fewer steps where steps x sentences x D x E would pass 1e11; effect unknown",
    ),
    checks=("mechanism:sentence_attention",),
)

RATIOS = (0.0, 0.2, 0.5, 0.8)
_BUDGET = 1e11  # products of a forward pass, over all steps: some 30 s on two cores


@dataclass
class SentenceAttention:
    """Few-shot classifier over class descriptions that learns which sentences to trust, and applies it to new classes too.

    fit needs `text.prompts_CPD` (rows of zeros are padding) and labelled rows; `adapt(text)` then weighs the sentences of any other
    classes. ratio: share of the attended sentences in the mix (0 = mean of the sentences); where `val` is given it is chosen there from
    four values (smallest among equals), into ratio_. reduction: width of the attention is D / reduction. values: also learn a change of
    the sentences, as in the paper. epochs, lr: AdamW with a cosine schedule, batches of 256. seed: of the first weights.
    """

    ratio: float = 0.5
    reduction: int = 4
    values: bool = True
    epochs: int = 200
    lr: float = 2e-3
    max_steps: int = 1500
    seed: int = 0

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"ratio": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> SentenceAttention:
        prompts_CPD = single_prompts(text, self)
        train, y_N, _ = inputs.labelled(train, text, self)
        self.encoder_, self.scale_ = train.encoder or text.encoder, text.scale
        order = by_content(train.z_ND)
        found = []
        for ratio in (self.ratio,) if val is None or len(train) == 0 else RATIOS:
            self._train(train.z_ND[order], y_N[order], prompts_CPD, ratio)
            self.text_ = self.weigh(prompts_CPD)
            if val is None:
                return self
            held, y_V, _ = inputs.labelled(val, text, self)
            found.append((inputs.accuracy(self.logits(held), y_V), -ratio, dict(vars(self))))
        vars(self).update(max(found, key=lambda f: f[:2])[2])
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "text_")
        return self.scale_ * inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self) @ self.text_.T

    def adapt(self, text: ClassText) -> ClassText:
        """The class text of any classes, new ones too, with their sentences weighed: use it in place of the plain one."""
        inputs.fitted(self, "text_")
        return replace(text, W_CD=self.weigh(single_prompts(text, self)))

    def weigh(self, prompts_CPD: Float[Tensor, "C P D"]) -> Float[Tensor, "C D"]:
        """Class vectors of sets of sentences by the learned attention."""
        return class_vectors(prompts_CPD, self.query_, self.key_, self.value_, self.out_, self.ratio_)

    def _train(self, z_ND: Tensor, y_N: Tensor, prompts_CPD: Tensor, ratio: float) -> None:
        C, P, D = prompts_CPD.shape
        E = max(1, D // self.reduction)
        rng = generator("sentence_attention", self.seed, D, E)
        dtype = precision(C * P, D, E)
        xavier = lambda: (torch.randn(D, E, generator=rng, dtype=torch.float64) * (2 / (D + E)) ** 0.5).to(dtype).requires_grad_()
        query_DE, key_DE, value_DE = xavier(), xavier(), xavier()
        out_ED = torch.zeros(E, D, dtype=dtype, requires_grad=True)
        z_ND, said_CPD = z_ND.to(dtype), prompts_CPD.to(dtype)
        self.ratio_ = ratio if len(z_ND) else 0.0

        def loss(rows: Tensor) -> Tensor:
            w_CD = class_vectors(said_CPD, query_DE, key_DE, value_DE, out_ED, ratio)
            return cross_entropy(self.scale_ * z_ND[rows] @ w_CD.T, y_N[rows])

        if self.ratio_:
            learned = [query_DE, key_DE, value_DE, out_ED] if self.values else [query_DE, key_DE]
            steps = max(1, min(self.max_steps, int(_BUDGET / (C * P * D * E))))
            descend(learned, loss, len(z_ND), lr=self.lr, epochs=self.epochs, most_steps=steps, key="sentence_attention")
        self.query_, self.key_, self.value_, self.out_ = (t.detach().float() for t in (query_DE, key_DE, value_DE, out_ED))


def class_vectors(prompts_CPD: Tensor, query_DE: Tensor, key_DE: Tensor, value_DE: Tensor, out_ED: Tensor, ratio: float) -> Tensor:
    """unit(mean_p ((1 - ratio) s_p + ratio attention_p)) (C, D) of unit sentences; rows of zeros are padding."""
    real_CP = (prompts_CPD != 0).any(-1)
    s_CPD = unit(prompts_CPD)
    logit_CPP = (s_CPD @ query_DE) @ (s_CPD @ key_DE).transpose(1, 2) / query_DE.shape[1] ** 0.5
    share_CPP = logit_CPP.masked_fill(~real_CP[:, None], -torch.inf).softmax(-1) * real_CP[..., None]
    # the mean over p of the attended values is a weighted sum: the weights of a sentence are those that all p give it
    weight_CP = (1 - ratio) * real_CP.to(s_CPD.dtype) + ratio * share_CPP.sum(1)
    changed_CE = torch.einsum("cp,cpe->ce", ratio * share_CPP.sum(1), s_CPD @ value_DE)
    return unit(torch.einsum("cp,cpd->cd", weight_CP, s_CPD) + changed_CE @ out_ED)
