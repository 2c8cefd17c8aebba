"""The two-line answers: sort images into classes that are named in words, without training anything."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairwright.core import io
from pairwright.core.features import Features
from pairwright.data.listing import find_images
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.heads.zero_shot.prompt_ensemble import PromptEnsemble
from pairwright.models.embed import embed

Report = Callable[[int, int], None]
TEMPLATES = {"sprout": "icon"}
"""Template lists of the shipped models, by name; every other model gets CLIP's own sentence, the list `simple`."""


@dataclass(frozen=True)
class Answer:
    """The best classes of one image: (label, probability), best first. The probabilities are the softmax over all labels."""

    id: str
    best: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Answers:
    """What `classify` returns: an answer for each image that could be read, and id -> reason for the others."""

    answers: tuple[Answer, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self):
        return iter(self.answers)


def classify(
    model: Any,
    images: Any,
    labels: Sequence[str],
    *,
    templates: str | Sequence[str] | None = None,
    top: int = 3,
    batch_size: int = 128,
    precision: str = "fp32",
    strict: bool = False,
    progress: bool | Report = False,
) -> Answers:
    """Classify images zero-shot: the class whose words lie nearest to the picture.

    images: whatever `pairwright.embed` takes (a folder, paths, PIL images). labels: class names, each once, none empty. templates:
    sentences with ``{}`` for the class name, or the name of a shipped list; by default what suits the model (`TEMPLATES`). top: how many
    classes to return per image. precision: as in `pairwright.embed`. strict: raise at the first image that cannot be read, instead of
    skipping it.
    """
    check_labels(labels)
    if top < 1:
        raise ValueError(f"top is {top}; it has to be 1 or more")
    if templates is None:
        templates = TEMPLATES.get(model.config.get("name", ""), "simple")
    text = class_text(model, labels, templates, cache=io.cache_dir("class_text"))
    features, skipped = embed_all(model, images, batch_size=batch_size, precision=precision, strict=strict, progress=progress)
    probability_NC = PromptEnsemble().fit(None, text).logits(features).softmax(-1)
    best = probability_NC.sort(dim=-1, descending=True, stable=True)
    answers = []
    for row, id_ in enumerate(features.ids):
        order, values = best.indices[row, :top].tolist(), best.values[row, :top].tolist()
        answers.append(Answer(id_, tuple((labels[c], p) for c, p in zip(order, values, strict=True))))
    return Answers(tuple(answers), skipped)


def embed_all(
    model: Any, images: Any, *, batch_size: int = 128, precision: str = "fp32", strict: bool = False, progress: bool | Report = False
) -> tuple[Features, dict[str, str]]:
    """Embed images and return (features, id -> reason of those that could not be read) without a warning beside it."""
    skipped: dict[str, str] = {}
    with warnings.catch_warnings():
        # the caller gets the list itself
        warnings.filterwarnings("ignore", message=r".*images were skipped")
        how = {"batch_size": batch_size, "precision": precision, "progress": progress}
        features = embed(model, images=images, skip_bad=not strict, skipped=skipped, **how)
    return features, skipped


def image_files(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """All images in folders and globs, and the files that are named themselves."""
    return list(find_images(*paths))


def read_labels(text: str | None, file: Path | None) -> list[str]:
    """Class names from ``"cat,dog"`` or from a text file with one name a line (blank lines at its end do not count)."""
    if (text is None) == (file is None):
        raise ValueError('name the classes, either --labels "cat,dog" or --labels-file names.txt')
    if file is not None:
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist")
        try:
            labels = file.read_text(encoding="utf-8-sig").rstrip().split("\n")
        except UnicodeDecodeError:
            raise ValueError(f"{file} is not a text file in UTF-8") from None
    else:
        labels = (text or "").split(",")
    labels = [" ".join(label.split()) for label in labels]
    check_labels(labels)
    return labels


def check_labels(labels: Sequence[str]) -> None:
    """ValueError, with the label that is at fault, for empty and repeated class names."""
    if isinstance(labels, str):
        raise ValueError(f"labels are a list of names, got the single text {labels!r}")
    if not labels or not any(label.strip() for label in labels):
        raise ValueError("there are no labels: give at least one class name")
    seen: dict[str, int] = {}
    for place, label in enumerate(labels, 1):
        if not label.strip():
            raise ValueError(f"label {place} of {len(labels)} is empty: remove it or name the class")
        if label in seen:
            raise ValueError(f"label {label!r} is given twice (as number {seen[label]} and {place}): name each class once")
        seen[label] = place
