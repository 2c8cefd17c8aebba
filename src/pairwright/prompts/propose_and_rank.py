"""GLOV: a language model proposes prompt templates, sees how the ranked ones scored, and proposes better ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import unit
from pairwright.data.text.descriptions import sentences
from pairwright.data.text.templates import fill, templates
from pairwright.data.text.writer import Writer
from pairwright.prompts.fit import labels_of, rows_of
from pairwright.prompts.tokens import hand_text

CARD = Card(
    name="GLOV (language model as implicit optimizer of prompts)",
    symbol="ProposeAndRank",
    paper="glov",
    title="GLOV: Guided Large Language Models as Implicit Optimizers for Vision Language Models",
    year=2025,
    arxiv="2410.06154",
    where="sections 3.1 and 3.2",
    equation="H = {(template, accuracy on shots)};  templates_{t+1} = writer(task, best and worst of H with their scores);  "
    "W = unit(mean of the class text of the 3 best)",
    says="Shown which prompts scored well and which badly, a language model writes prompts that suit the vision-language model.",
    needs="a writer (any language model) + few labelled features + class names + the text tower",
    cost="one answer of the writer and one pass of the text tower over the class names per new template; no gradients",
    use_when="a template that suits a domain is wanted, it has to stay readable, and a language model is at hand",
    not_when="many shots (learned tokens or heads go further); a writer that does not use what it is shown",
    aliases=("prompt optimization by a language model", "OPRO for CLIP", "LLM prompt search", "black-box prompt optimization"),
    neighbours=("prompts/evolved_prompts", "heads/zero_shot/prompt_ensemble"),
    deviations=(
        "the writer's hidden states are not steered by the difference of a good and a bad prompt: a writer is any callable and has none to "
        "offer; of the paper's two parts this is the first. Effect unknown",
        "equal scores are ranked by the cross-entropy, which the paper does not state; without it few shots tie often",
        "measured with a writer that mixes words of good templates, not a language model: 3.4 points over random templates of five words; "
        "of three words, which random search finds as well in time, 2 to 3 points, less where words that help are rare or common",
    ),
    checks=("mechanism:propose_and_rank",),
)

REQUEST = """Task: {d}. An image classifier compares pictures with texts that are made by putting a class name into a template.
Templates tried so far, with their accuracy in percent:
{h}
Write {n} new templates that score higher, one a line, each with {m} where the class name goes. Write nothing else."""


@dataclass
class ProposeAndRank:
    """Prompt templates written by a language model and ranked on few labelled images, round by round; no gradients.

    task: what is classified, in words, for the writer. rounds: times the writer is asked. ask: templates it is asked for each time. show:
    how many of the best, and of the worst, templates it is shown with their scores. keep: the best templates whose class text is averaged.
    start: templates that are scored before the first round. request: what is asked, with ``{d}`` for the task, ``{h}`` for the history,
    ``{n}`` for `ask` and ``{m}`` for the mark of the class name.

    A proposal without a place for the class name, or one that was scored before, costs nothing. Learned: ``ranked_``, a list of
    (template, accuracy), best first, and ``templates_``, the ones kept.
    """

    task: str = "classify pictures"
    rounds: int = 10
    ask: int = 10
    show: int = 5
    keep: int = 3
    start: str | Sequence[str] = "a photo of a {}."
    request: str = REQUEST

    def fit(self, model: Any, names: Sequence[str], train: Features, writer: Writer) -> ProposeAndRank:
        """Search with labelled features of `model`; label c is names[c]."""
        if self.rounds < 0 or min(self.ask, self.show, self.keep) < 1:
            raise ValueError("rounds must be at least 0, and ask, show and keep at least 1")
        z_ND, y_N = rows_of(train, model, self), labels_of(train, len(names), self)
        if not len(y_N):
            raise ValueError("templates are ranked on labelled features, and there are none: give at least one a class")
        scale = float(model.scale.detach())
        score = lambda template: _score(scale * z_ND @ hand_text(model, names, template).cpu().T, y_N)
        scored = {t: score(t) for t in templates(self.start)}
        for _ in range(self.rounds):
            for template in self._proposed(writer, scored)[: self.ask]:
                scored[template] = score(template)
        ranked = _ranked(scored)
        self.ranked_ = [(t, scored[t][0]) for t in ranked]
        self.templates_ = ranked[: self.keep]
        return self

    def text(self, model: Any, names: Sequence[str]) -> ClassText:
        """Class text of the kept templates, for any class names; its single prompts stand in the order of the ranking."""
        if not hasattr(self, "templates_"):
            raise ValueError("this ProposeAndRank is not fitted yet: call fit(model, names, train, writer) first")
        prompts_CPD = torch.stack([hand_text(model, names, t).float().cpu() for t in self.templates_], 1)
        scale = float(model.scale.detach())
        return ClassText(unit(prompts_CPD.mean(1)), tuple(names), prompts_CPD, encoder=model.fingerprint, scale=scale)

    def _proposed(self, writer: Writer, scored: dict[str, tuple[float, float]]) -> list[str]:
        """New, usable templates out of one answer."""
        ranked = _ranked(scored)
        shown = ranked if len(ranked) <= 2 * self.show else [*ranked[: self.show], *ranked[-self.show :]]
        history = "\n".join(f"{100 * scored[t][0]:.1f}: {t}" for t in shown)
        answers = writer([fill(self.request, "{}", d=self.task, h=history, n=str(self.ask), m="{}")])
        if len(answers) != 1:
            raise ValueError(f"the writer was asked one question and gave {len(answers)} answers")
        lines = (line.replace("{c}", "{}") for line in sentences(answers[0]))
        return list(dict.fromkeys(t for t in lines if t.count("{}") == 1 and t not in scored))


def _score(logits_NC: Tensor, y_N: Tensor) -> tuple[float, float]:
    """(accuracy, minus the cross-entropy): the second ranks equals."""
    loss = torch.nn.functional.cross_entropy(logits_NC.double(), y_N)
    return float((logits_NC.argmax(1) == y_N).double().mean()), -float(loss)


def _ranked(scored: dict[str, tuple[float, float]]) -> list[str]:
    return sorted(scored, key=lambda t: scored[t], reverse=True)
