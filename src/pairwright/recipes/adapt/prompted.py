"""Prompt learners as candidates: tokens learned in the text tower, handed over as the class text of a zero-shot head."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import Any

import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.find import find
from pairwright.core.index import Entry, entries
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.recipes.adapt.portfolio import Candidate

TRIED = "prompts/kgcoop"
"""The one that is tried unasked: it stays near the hand-written text, so few labels do not lead it astray."""
STEPS = 200
FITS = 30
"""About how often a candidate is fitted in all: five folds, and five in each of five outer ones."""


@dataclass(frozen=True)
class Prompted(Candidate):
    """A prompt learner on a model. The model itself is left bit-identical."""

    model: Any = None

    def fit(self, train: Features, text: ClassText) -> Any:
        (entry,) = entries(self.id)
        how = self.settings(train) if callable(self.settings) else self.settings
        learner = entry.load()(**how).fit(self.model, text.names, train)
        return ZeroShot().fit(None, learner.text(self.model, text.names))


def prompted(entry: Entry, model: Any, steps: int = STEPS) -> Prompted:
    """A candidate of one prompt learner, with a ceiling on its steps."""
    from pairwright.prompts.fit import Descent

    return Prompted(entry.id, f"{entry.card.name.partition(' (')[0]}, {steps} steps", {"how": Descent(most_steps=steps)}, True, model)


def affordable(model: Any, text: ClassText, seconds: float) -> tuple[list[Prompted], str]:
    """The prompt learner that is tried if the seconds are enough for it, or none and a sentence that says why."""
    if model.tokenizer is None or not hasattr(model.towers["text"], "from_embeddings"):
        return [], ""
    with torch.no_grad():
        ids_CL = model.tokenizer(list(text.names)).to(model.device)
        start = time.perf_counter()
        model.text(ids_CL)
    need = 3 * (time.perf_counter() - start) * STEPS * FITS  # a step is a pass forward and one, twice as long, back
    (entry,) = entries(TRIED)
    if need > 0.4 * seconds:
        name = entry.card.name.partition(" ")[0]
        return [], f"Prompt learning was left out: it would take about {need:.0f} s. --method {name} forces it."
    return [prompted(entry, model)], ""


def forced_prompt(name: str, model: Any) -> Prompted | None:
    """The prompt learner that a name means before any head, or None."""
    first = next((e for e in find(name, 20) if e.kind.startswith(("heads", "prompts"))), None)
    if first is None or not first.kind.startswith("prompts"):
        return None
    if not is_candidate(first):
        raise ValueError(f"{first.card.name} is more than a class text learned from labelled features, all that a bundle holds: try CoOp")
    return prompted(first, model)


def is_candidate(e: Entry) -> bool:
    """Whether a prompt learner makes a class text from labelled features; with logits of its own the text depends on the image."""
    made = e.load()
    takes = inspect.signature(made.fit).parameters if hasattr(made, "fit") else {}
    on_features = list(takes) == ["self", "model", "names", "train"] and takes["train"].annotation in ("Features", Features)
    return on_features and hasattr(made, "text") and not hasattr(made, "logits")
