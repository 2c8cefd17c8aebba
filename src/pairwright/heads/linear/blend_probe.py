"""LP++: a linear probe blended with zero-shot, the weight of the text learned for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs
from pairwright.heads.descent import by_content, precision

CARD = Card(
    name="LP++ (blended linear probe)",
    symbol="BlendProbe",
    paper="extra:lp++",
    title="LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP",
    year=2024,
    arxiv="2404.02285",
    where="section 3, equations 4 to 12",
    equation="logits_nc = z_n . w_c + alpha_c z_n . W_c,  w and alpha by block descent on cross-entropy with steps 4N / eigmax(Z^T Z) "
    "and N / (4 max_c sum_n (z_n . W_c)^2)",
    says="Blending text into a linear probe, with step sizes and starting points from the data, beats adapters and prompts without any "
    "tuning.",
    needs="few labelled features + class text",
    cost="at most 300 passes over the features; then that of a linear classifier",
    use_when="1 to 16 shots and no wish to tune anything",
    not_when="text that says nothing about the classes (the start leans on it; use logistic)",
    aliases=("LP++", "LPplusplus", "blended linear probe"),
    neighbours=("heads/linear/logistic", "heads/linear/class_penalty", "heads/linear/gda"),
    deviations=(
        "alpha starts at 2.5 logit scales times the mean agreement of shots and their text; the released constant is 250, for CLIP's "
        "scale of 100",
        "alpha steps along its gradient of that moment; the released code never clears it, so that its steps grow. Measured in the "
        "check: at this step size alpha moves little, and moving it is not where the gain comes from",
        "without val the last of the steps counts; the paper keeps the best on val, as this does where val is given. No bias",
        "fewer steps where steps x rows x classes x width would pass 5e11 (61 of 300 at 16,000 x 1,000 x 512); effect unknown",
    ),
    checks=("mechanism:blend_probe",),
)

_BUDGET = 5e11  # products: some 30 s on two cores


@dataclass
class BlendProbe:
    """Few-shot linear probe blended with zero-shot, whose text weight is learned for each class, with nothing to tune.

    steps: full-batch descent steps with momentum 0.9; alpha moves on every tenth. The start (class sums, one alpha from the agreement of
    shots and text) and both step sizes come from the data. Where `val` is given, the step that is best on it is kept (the last of
    equals). alpha_ holds the text weight of each class, weight_ the whole classifier. Without any shots this is zero-shot; it has no
    strength to set.
    """

    steps: int = 300

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = None

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> BlendProbe:
        text = inputs.class_text_of(text, self)
        train, y_N, classes = inputs.labelled(train, text, self)
        self.encoder_ = train.encoder or text.encoder
        order = by_content(train.z_ND)
        dtype = precision(len(train), *text.W_CD.shape)
        z_ND, y_N, W_CD = train.z_ND[order].to(dtype), y_N[order], text.W_CD.to(dtype)
        if val is not None:
            val, y_V, _ = inputs.labelled(val, text, self)
            val_VD = val.z_ND.to(dtype)
        if len(train) == 0:
            self._keep(torch.zeros_like(W_CD), W_CD.new_full((classes,), text.scale), W_CD)
            return self
        text_NC = z_ND @ W_CD.T
        weight_CD, alpha_C = start(z_ND, y_N, text_NC, text.scale)
        step_w, step_alpha = step_sizes(z_ND, text_NC)
        momentum_CD, best = torch.zeros_like(weight_CD), -1.0
        wanted_NC = torch.nn.functional.one_hot(y_N, classes).to(dtype)
        steps = max(1, min(self.steps, int(_BUDGET / (z_ND.numel() * classes))))
        for step in range(1, steps + 1):
            slope_NC = ((z_ND @ weight_CD.T + alpha_C * text_NC).softmax(1) - wanted_NC) / len(z_ND)
            momentum_CD = 0.9 * momentum_CD + slope_NC.T @ z_ND
            weight_CD = weight_CD - step_w * momentum_CD
            if step % 10 == 0:
                alpha_C = alpha_C - step_alpha * (slope_NC * text_NC).sum(0)
            accuracy = 0.0 if val is None else inputs.accuracy(val_VD @ (weight_CD + alpha_C[:, None] * W_CD).T, y_V)
            if val is None or accuracy >= best:
                best = accuracy
                self._keep(weight_CD, alpha_C, W_CD)
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "weight_")
        return inputs.rows(z_ND, self.weight_.shape[1], self.encoder_, self) @ self.weight_.T

    def _keep(self, weight_CD: Tensor, alpha_C: Tensor, W_CD: Tensor) -> None:
        self.weight_, self.alpha_ = (weight_CD + alpha_C[:, None] * W_CD).float(), alpha_C.float()


def start(z_ND: Tensor, y_N: Tensor, text_NC: Tensor, scale: float) -> tuple[Float[Tensor, "C D"], Float[Tensor, " C"]]:
    """Visual weights: the sum of each class's rows. alpha: 2.5 scale times the mean over seen classes of the rows' cosine with their "
    "own text."""
    classes = text_NC.shape[1]
    weight_CD, count_C = inputs.class_sums(z_ND, y_N, classes)
    own_C = text_NC.new_zeros(classes).index_add_(0, y_N, text_NC.gather(1, y_N[:, None]).squeeze(1))
    agreement = (own_C / count_C.clamp_min(1)).sum() / (count_C > 0).sum()
    return weight_CD, (2.5 * scale * agreement).expand(classes).clone()


def step_sizes(z_ND: Tensor, text_NC: Tensor) -> tuple[float, float]:
    """(for the weights, for alpha): reciprocals of bounds on the curvature of the mean cross-entropy in each block."""
    N = len(z_ND)
    return 4 * N / float(torch.linalg.eigvalsh(z_ND.T @ z_ND)[-1]), N / (4 * float(text_NC.square().sum(0).max()))
