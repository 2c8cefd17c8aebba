"""PerceptionCLIP from class names: texts for every combination of contexts, inferred from the image before the class is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from pairwright.core.numerics import unit
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.heads.zero_shot.context_posterior import ContextPosterior


def perceptionclip(
    model: Any,
    names: Sequence[str],
    contexts: Mapping[str, Sequence[str | Sequence[str]]],
    *,
    template: str = "a photo of a {}",
    temperature: float = 1.0,
) -> tuple[ContextPosterior, list[tuple[str, ...]]]:
    """A fitted head that names the context of an image and then its class, and what each of its contexts is.

    model: a DualEncoder (or anything that `class_text` takes). contexts: attribute -> its values; a value is a phrase that follows the
    template ("on water"), an empty one for none, or a list of phrases that mean the same, whose embeddings are averaged. Several
    attributes give every combination of their values. temperature: of the context (see ContextPosterior). Nothing is trained.

    Returns (head, one tuple of values for each context): `head.contexts(z)` has a column for each of them.
    """
    if not contexts or any(not values for values in contexts.values()):
        raise ValueError("give at least one attribute with at least one value, such as {'background': ['on land', 'on water']}")
    worded = {name: [[v] if isinstance(v, str) else list(v) for v in values] for name, values in contexts.items()}
    if empty := [name for name, values in worded.items() if not all(values)]:
        raise ValueError(f"a value of {empty[0]!r} has no phrase: write '' for a value that is not mentioned")
    parts = []
    for combination in product(*worded.values()):
        wordings = [", ".join([template, *filter(None, phrases)]) for phrases in product(*combination)]
        parts.append(class_text(model, names, wordings))
    prompts_CKD = torch.stack([part.W_CD for part in parts], 1)
    text = replace(parts[0], W_CD=unit(prompts_CKD.sum(1)), prompts_CPD=prompts_CKD)
    labels = [tuple(phrases[0] for phrases in combination) for combination in product(*worded.values())]
    return ContextPosterior(temperature).fit(None, text), labels
