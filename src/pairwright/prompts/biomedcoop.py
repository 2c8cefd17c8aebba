"""BiomedCoOp: CoOp held to an ensemble of written prompts for each class, without those that behave unlike the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import kl_div, mse_loss

from pairwright.core.card import Card
from pairwright.core.numerics import unit
from pairwright.data.text.templates import fill, templates
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Step, scores
from pairwright.prompts.tokens import frozen

CARD = Card(
    name="BiomedCoOp",
    symbol="BiomedCoOp",
    paper="biomedcoop",
    title="BiomedCoOp: Learning to Prompt for Biomedical Vision-Language Models",
    year=2025,
    arxiv="2411.15232",
    where="sections 3.2 and 3.3",
    equation="loss = CE + match mse(W, unit(mean_p d_cp)) + distil KL(softmax(s z K^T) | softmax(s z W^T)) / C,  K the unit mean of the "
    "kept prompts; q_p = mean_i max_c s z_i . d_cp, r = (q - median q) / MAD(q), kept: |r_p - mean r| <= tau std r",
    says="An ensemble of prompts written by a language model, without its outliers, regularises few-shot prompts for medical images.",
    needs="few labelled features + class names + the text tower + several written prompts for each class",
    cost="that of CoOp, and P prompts a class embedded once",
    use_when="good descriptions of the classes exist, some of which may be wrong, and labels are few or doubtful",
    not_when="nothing is written about the classes beyond a template or two (kgcoop)",
    aliases=("BiomedCoOp", "SCCM", "KDSP", "semantic consistency by contextual mapping", "knowledge distillation with selective prompting"),
    neighbours=("prompts/kgcoop", "prompts/prograd", "heads/zero_shot/description_ensemble"),
    deviations=(
        "both terms are means over all their entries, as in the released code: they weigh less for wide embeddings and many classes",
        "trained on stored features, without the random crops of the paper; effect unknown",
        "in our check the gain is that of the ensemble: leaving out the prompts that behave unlike the others changes H by 0.1 points, "
        "since false prompts that name other classes score like true ones",
    ),
    checks=("mechanism:biomedcoop",),
)


@dataclass(frozen=True)
class Consistency:
    """weight x mean squared difference, over classes and components, of learned class text and target."""

    target_CD: Tensor
    weight: float
    name: str = "consistency"

    def __call__(self, step: Step) -> Tensor:
        return self.weight * mse_loss(step.text, self.target_CD.expand_as(step.text))


@dataclass(frozen=True)
class Selective:
    """weight x KL of the prompt's class probabilities from those of the kept written prompts, over the number of classes."""

    prompts_CPD: Tensor
    scale: Tensor
    tau: float
    weight: float
    name: str = "selective"

    def __call__(self, step: Step) -> Tensor:
        z_BD = step.image.z_BD
        kept_CD = unit(self.prompts_CPD[:, ordinary(z_BD, self.prompts_CPD, self.scale, self.tau)].mean(1))
        teacher_BC = scores(kept_CD, z_BD, self.scale).log_softmax(-1)
        kl = kl_div(step.logits_BC.log_softmax(-1), teacher_BC, reduction="sum", log_target=True)
        return self.weight * kl / step.logits_BC.numel()


@dataclass
class BiomedCoOp(CoOp):
    """Learned text prompt regularised by descriptions: few-shot prompt learning with an ensemble of prompts from a language model.

    prompts: for each class name the same number of finished prompts, the p-th of every class being of one kind; or templates (a list, a
    file or the name of a shipped list), for all classes. match: weight of the distance to the mean of all prompts. distil: weight of the
    KL from the kept ones. tau: how many standard deviations a prompt's score may lie from the mean, in each batch; infinite keeps all.
    Both weights 0 are CoOp. The rest as in CoOp.
    """

    context: int | str = "a photo of a {}."
    prompts: Mapping[str, Sequence[str]] | str | Sequence[str] = "simple"
    match: float = 1.0
    distil: float = 1.0
    tau: float = 1.5

    def terms(self, model: Any, names: Sequence[str]) -> tuple[Consistency, Selective]:
        prompts_CPD = self.written(model, names)
        target_CD = unit(prompts_CPD.mean(1))
        return Consistency(target_CD, self.match), Selective(prompts_CPD, model.scale.detach(), self.tau, self.distil)

    @torch.no_grad()
    def written(self, model: Any, names: Sequence[str]) -> Float[Tensor, "C P D"]:
        """Unit embeddings of the written prompts of every class."""
        if isinstance(self.prompts, Mapping):
            rows = [list(self.prompts.get(n, ())) for n in names]
            uneven = [i for i, r in enumerate(rows) if not r or len(r) != len(rows[0])]
            if uneven:
                found = [len(rows[0]), len(rows[uneven[0]])]
                raise ValueError(f"every class needs the same number of prompts: {names[0]!r} and {names[uneven[0]]!r} have {found}")
        else:
            rows = [[fill(t, n) for t in templates(self.prompts)] for n in names]
        with frozen(model):
            return torch.stack([model.text(model.tokenizer(r).to(model.device)).z_BD for r in rows])


def ordinary(z_BD: Float[Tensor, "B D"], prompts_CPD: Float[Tensor, "C P D"], scale: float | Tensor, tau: float) -> Bool[Tensor, " P"]:
    """Which prompts score a batch as the others do: |r - mean r| <= tau std r for r = (q - median q) / MAD q, q the mean best logit.

    r is linear in q, so that median and MAD drop out of the comparison. Where all prompts score alike, or nothing would be left, all are
    kept.
    """
    q_P = scale * torch.einsum("bd,cpd->bpc", z_BD, prompts_CPD).amax(-1).mean(0)
    if len(q_P) < 2:
        return torch.ones_like(q_P, dtype=torch.bool)
    rounding = 1e-5 * q_P.abs().max()  # equal prompts differ by that much
    keep_P = (q_P - q_P.mean()).abs() <= (tau * q_P.std()).clamp_min(rounding)
    return keep_P if keep_P.any() else torch.ones_like(keep_P)
