"""AD-CLIP: unsupervised domain adaptation of style-conditioned prompts, with labels in one domain and unlabelled images of another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import Features
from pairwright.prompts.fit import Step
from pairwright.prompts.style_tokens import StyleTokens
from pairwright.recipes._two_domains import Other, apart, balanced_entropy, text_divergence

CARD = Card(
    name="AD-CLIP (adapting domains in prompt space)",
    symbol="ADCLIP",
    paper="stylip-ad-clip",
    title="In the Era of Prompt Learning with Vision-Language Models",
    year=2024,
    arxiv="2411.04892",
    where="section on AD-CLIP; AD-CLIP: Adapting Domains in Prompt Space Using CLIP (2308.05659)",
    equation="CE(source) + 0.1 mean (style(x_s) - style(x_t))^2 + 0.01 H(softmax_c scale z_t . W_c(x_t)) + KL(W(x_t) || W(x_s)), the "
    "divergence of softmaxes over classes, one for each dimension; rows of source and target paired at random; style as in StyleTokens",
    says="Prompts conditioned on style and content become domain-invariant when target predictions are made sure and the text of both "
    "domains is aligned; that beats adaptation of visual features.",
    needs="labelled source features and unlabelled target features, both with style statistics + class names + the text tower",
    cost="twice that of StyleTokens in training, the same in use",
    use_when="labels exist in one domain (product shots), images are met in another (phone snaps) and can be collected without labels",
    not_when="target images show other classes; no images of the target (style_tokens); one domain",
    aliases=("AD-CLIP", "unsupervised domain adaptation", "UDA of prompts", "entropy alignment", "domain-invariant prompts"),
    neighbours=("prompts/style_tokens", "recipes/ip_clip", "prompts/pseudolabel_tuning"),
    deviations=(
        "the style term compares source and target directly; the released code compares the source's tokens with those of a second "
        "network on the same statistics, which prompts never use. Effect unknown",
        "entropy is that of the released code, which first scales each class's probabilities to unit length over the batch; on the way to "
        "our check it was as good as Shannon's at weight 0.01 and better at 1, where Shannon's gave up whole classes",
        "an image's prompt holds its own style; the released code puts tokens of a source and of a target image into both. Effect unknown",
        "in our check most of the gain is the alignment of text: unlabelled target images of other classes give nearly as much of it, and "
        "far from several well-learned sources there was no gain. Not shown: six draws on the way gained 2 to 21 points, the "
        "five of the check lose 0.2 on average, one of them 7",
    ),
    checks=("mechanism:ad_clip",),
)


@dataclass
class ADCLIP:
    """Domain adaptation of prompts without target labels: style-conditioned prompts that are sure of, and alike in, the target domain.

    learner: the prompts, fitted as a copy. style, entropy, text: weights of the three terms on the target; with all of them 0 this is the
    learner on the source alone. The target's labels are ignored.

    Learned: ``learner_``, a StyleTokens, which `save_prompts` writes.
    """

    learner: StyleTokens = field(default_factory=lambda: StyleTokens(content="tokens"))
    style: float = 0.1
    entropy: float = 0.01
    text: float = 1.0

    def fit(self, model: Any, names: Sequence[str], source: Features, target: Features) -> ADCLIP:
        """Learn from labelled rows of one domain and unlabelled rows of another, both made by `style_features`."""
        learner = copy.deepcopy(self.learner)
        terms = ()
        if self.style or self.entropy or self.text:
            terms = (Align(Other.of(learner, model, names, target, self), self.style, self.entropy, self.text),)
        self.learner_ = learner.fit(model, names, source, terms=terms)
        return self

    def logits(self, model: Any, names: Sequence[str], x: Features) -> Float[Tensor, "N C"]:
        """Class scores of rows of either domain."""
        if not hasattr(self, "learner_"):
            raise ValueError("this ADCLIP is not fitted yet: call fit(model, names, source, target) first")
        return self.learner_.logits(model, names, x)


@dataclass(frozen=True)
class Align:
    """The three terms on the target."""

    target: Other
    style: float
    entropy: float
    text: float
    name: str = "align"

    def __call__(self, step: Step) -> Tensor:
        seen = self.target(step)
        parts = self.style * apart(self.target.learner.style(step.image), seen.style_BJE) + self.entropy * balanced_entropy(seen.logits_BC)
        return parts + self.text * text_divergence(step.text, seen.text_BCD)
