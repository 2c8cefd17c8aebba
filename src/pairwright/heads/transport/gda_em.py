"""GDA without labels: a Gaussian mixture whose components start at zero-shot, fitted by EM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features, check_finite, check_same_encoder
from pairwright.heads import inputs
from pairwright.heads.linear.gda import discriminant

CARD = Card(
    name="GDA without labels (EM)",
    symbol="GDAEM",
    paper="gda-clip",
    title="A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation",
    year=2024,
    arxiv="2402.04087",
    where="section 3.3, unsupervised learning",
    equation="q_nc = softmax_c(scale z_n . W_c) at first;  m_c = sum_n q_nc z_n / sum_n q_nc, (N-1) S = sum_nc q_nc (z_n - m_c)(z_n - "
    "m_c)^T, g = z P m_c - m_c^T P m_c / 2, q = softmax(N/D g), repeat;  logits = scale z W^T + N/D g",
    says="Unlabelled images alone, guessed at by zero-shot and refined as a Gaussian mixture, beat trained unsupervised adapters.",
    needs="unlabelled features of the target + class text",
    cost="per iteration one product of all rows with themselves (D x D) and one factorisation; then that of a linear classifier",
    use_when="many unlabelled images of the classes, nearly balanced, that vary along directions shared by all classes",
    not_when="few rows a class, rows of other classes, strongly unequal classes (uniform priors split the big ones)",
    aliases=("GDA-EM", "unsupervised GDA", "Gaussian mixture", "expectation maximisation", "transductive LDA", "label-free adaptation"),
    neighbours=("heads/linear/gda", "heads/transport/lfa"),
    deviations=(
        "responsibilities and the final sum weigh g by N/D, which makes P the inverse covariance and g a log-likelihood; the paper "
        "searches the weight of the sum on labelled val rows. Effect unknown",
    ),
    checks=("mechanism:gda_em",),
)


@dataclass
class GDAEM:
    """Classify unlabelled images together: zero-shot guesses, refined by EM into class means and one shared covariance.

    fit_logits(x, text) learns from the rows and scores them; logits then scores any other rows by what was learnt. iterations: EM steps
    (0 = zero-shot). Class priors are uniform. Solved in float64; the order of the rows does not matter.
    """

    iterations: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = {"iterations": 0}

    def fit_logits(self, x: Features, text: ClassText) -> Float[Tensor, "N C"]:
        """Class scores of the rows, which are all looked at together."""
        text = inputs.class_text_of(text, self)
        check_same_encoder(x, text)
        check_finite(x.z_ND)
        self.text_, self.encoder_, self.scale_ = text.W_CD, text.encoder or x.encoder, text.scale
        self.weight_, self.bias_ = torch.zeros_like(text.W_CD), text.W_CD.new_zeros(len(text))
        z_ND = x.z_ND.double()
        N, D = z_ND.shape
        share_NC = (text.scale * z_ND @ text.W_CD.double().T).softmax(1)
        for _ in range(self.iterations if N > 1 else 0):
            count_C = share_NC.sum(0)
            mean_CD = share_NC.T @ z_ND / count_C.clamp_min(1e-9)[:, None]
            scatter_DD = z_ND.T @ z_ND - mean_CD.T @ (count_C[:, None] * mean_CD)
            if scatter_DD.trace() < 1e-9 * N:  # all rows are the same: nothing to learn
                break
            weight_CD, bias_C = (N / D * part for part in discriminant(mean_CD, scatter_DD, N))
            share_NC = (z_ND @ weight_CD.T + bias_C).softmax(1)
            self.weight_, self.bias_ = weight_CD.float().contiguous(), bias_C.float()
        return self.logits(x)

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of other rows (array, tensor or Features) by the mixture that was learnt."""
        inputs.fitted(self, "weight_")
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        return self.scale_ * z_ND @ self.text_.T + z_ND @ self.weight_.T + self.bias_
