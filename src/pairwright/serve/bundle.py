"""The bundle: an adapted classifier as a folder of safetensors and JSON, written whole, and refused where anything does not fit.

    bundle.json           classes, calibration, thresholds, the encoder's name, fingerprint and preprocessing, versions
    head-0.safetensors …  the members of the committee (see heads/persist.py)
    model/                the encoder, where its weights were tuned (see serve/weights.py)
    report.html, .json    what was tried and how good it is; not needed to classify

Nothing in it is a path, and nothing is unpickled: files are found by fixed names, checked by their hashes, and a head that does not give
one score for each class from rows of the encoder's width is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from pairwright.core import io
from pairwright.core.features import EncoderMismatch, Features
from pairwright.heads.persist import load_head
from pairwright.quick import check_labels, embed_all
from pairwright.recipes.adapt.committee import Committee, Member
from pairwright.recipes.adapt.kinds import AnyOf, OneOf
from pairwright.serve.weights import check_weights

FORMAT, KIND, META = 1, "pairwright-bundle", "bundle.json"
_HEAD = re.compile(r"head-\d{1,3}\.safetensors")
_MOST_JSON = 50_000_000


@dataclass(frozen=True)
class Verdict:
    """What is said of one image. said: class names, empty for "none of these". best: (class, probability), most probable first."""

    id: str
    said: tuple[str, ...]
    best: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Verdicts:
    """A verdict for each image that could be read, and id -> reason for the others."""

    verdicts: tuple[Verdict, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __iter__(self):
        return iter(self.verdicts)


@dataclass
class Bundle:
    """An adapted classifier. meta: what bundle.json says. model: the encoder, loaded when it is first needed if not given: from `weights`,
    the bundle's own model folder, where there is one, else by its name."""

    committee: Committee
    classes: tuple[str, ...]
    meta: Mapping[str, Any]
    encoder: Any = None
    weights: Path | None = None

    @property
    def model(self) -> Any:
        """The encoder; EncoderMismatch where it is not the one that the classifier was made with."""
        if self.encoder is None or isinstance(self.encoder, str):
            from pairwright.models.load import load

            own = self.meta["model"]["name"] if self.weights is None else f"local-dir:{self.weights}"
            self.encoder = load(self.encoder or own)
        if self.encoder.fingerprint != self.meta["model"]["fingerprint"]:
            mend = "load the same one" if self.weights is None else "name none, since the bundle brings its own"
            raise EncoderMismatch(
                f"this bundle was made with {self.meta['model']['name']} ({self.meta['model']['fingerprint']}), and the model given is "
                f"another ({self.encoder.fingerprint}): {mend}, or run `pairwright adapt` again with this one"
            )
        return self.encoder

    def probabilities(self, features: Any) -> torch.Tensor:
        """Calibrated probabilities (N, C) of features of the bundle's encoder."""
        return self.committee.probabilities(features)

    def verdicts(self, features: Features, *, top: int = 3, labels: Sequence[str] | None = None) -> list[Verdict]:
        """What is said of each row. labels: answer with these classes only."""
        probs_NC, names, thresholds = self.probabilities(features), self.classes, self.committee.thresholds_C
        committee = self.committee
        if labels is not None:
            at = self._places(labels)
            probs_NC, names = probs_NC[:, at], tuple(self.classes[i] for i in at)
            if isinstance(committee.kind, OneOf):
                probs_NC = probs_NC / probs_NC.sum(1, keepdim=True).clamp_min(1e-300)
            thresholds = None if thresholds is None else thresholds[at]
            committee = Committee(committee.members, committee.kind, committee.slope, committee.shift, committee.threshold, thresholds)
        found = []
        for id_, row, said in zip(features.ids, probs_NC, committee.said(probs_NC), strict=True):
            order = row.argsort(descending=True, stable=True)[:top].tolist()
            found.append(Verdict(id_, tuple(names[c] for c in said), tuple((names[c], float(row[c])) for c in order)))
        return found

    def classify(
        self, images: Any, *, top: int = 3, labels: Sequence[str] | None = None, strict: bool = False, precision: str = "fp32",
        progress: Any = False,
    ) -> Verdicts:  # fmt: skip
        """Classify images: whatever `pairwright.embed` takes. An image that is not sure enough gets no class ("none of these").

        precision: how pictures are computed, as in `pairwright.embed`."""
        if labels is not None:
            self._places(labels)
        features, skipped = embed_all(self.model, images, strict=strict, precision=precision, progress=progress)
        return Verdicts(tuple(self.verdicts(features, top=top, labels=labels)), skipped)

    def _places(self, labels: Sequence[str]) -> list[int]:
        check_labels(labels)
        place = {name: i for i, name in enumerate(self.classes)}
        if unknown := [label for label in labels if label not in place]:
            near = get_close_matches(unknown[0], self.classes, 1)
            raise ValueError(
                f"this bundle has no class {unknown[0]!r}" + (f"; did you mean {near[0]!r}?" if near else "") + f" It knows "
                f"{len(self.classes)}: {', '.join(self.classes[:8])}{', …' if len(self.classes) > 8 else ''}"
            )
        return [place[label] for label in labels]


def load_bundle(folder: str | Path, model: Any = None) -> Bundle:
    """Read a bundle that `save_bundle` (or `pairwright adapt`) wrote. model: a loaded encoder, or another name for it.

    Raises ValueError or FileNotFoundError for anything that is not a whole, unchanged bundle of this format.
    """
    folder = Path(folder)
    path = folder / META
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a bundle (there is no {META} in it): `pairwright adapt` makes one")
    if path.stat().st_size > _MOST_JSON:
        raise ValueError(f"{path} is larger than any bundle's description")
    try:
        meta = _checked(io.read_json(path), path)
        members = [_member(folder, entry, meta) for entry in meta["members"]]
        weights = check_weights(folder, meta["weights"]) if "weights" in meta else None
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is damaged or was not written by pairwright ({type(e).__name__}: {e})") from None
    kind = AnyOf() if meta["multi_label"] else OneOf()
    thresholds = None if meta["thresholds"] is None else torch.tensor(meta["thresholds"], dtype=torch.float64)
    committee = Committee(members, kind, meta["slope"], meta["shift"], meta["threshold"], thresholds)
    return Bundle(committee, tuple(meta["classes"]), meta, model, weights)


def _checked(meta: Any, path: Path) -> dict[str, Any]:
    """The description, each value of the right type and size."""
    if not isinstance(meta, dict) or meta.get("kind") != KIND:
        raise ValueError(f"{path} does not describe a bundle")
    if meta.get("format") != FORMAT:
        raise ValueError(f"{path} has format {meta.get('format')!r}, this version reads {FORMAT}: make the bundle again")
    classes, width = meta["classes"], meta["model"]["width"]
    if not isinstance(classes, list) or len(classes) < 2 or not all(isinstance(c, str) for c in classes):
        raise ValueError(f"{path}: classes are a list of two names or more")
    check_labels(classes)
    number = lambda x: isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)
    numbers = [meta["slope"], meta["shift"], meta["threshold"], *(x for m in meta["members"] for x in (m["slope"], m["shift"]))]
    if not all(map(number, numbers)) or not isinstance(width, int) or not 0 < width <= 100_000:
        raise ValueError(f"{path}: a calibration value or the width is not a finite number")
    several = meta["thresholds"]
    if bool(meta["multi_label"]) != (several is not None):
        raise ValueError(f"{path}: thresholds belong to several classes an image, and only there")
    if several is not None and (len(several) != len(classes) or not all(map(number, several))):
        raise ValueError(f"{path}: {len(classes)} classes need as many thresholds")
    if not meta["members"] or not all(isinstance(meta["model"][k], str) for k in ("name", "fingerprint")):
        raise ValueError(f"{path}: it names no head, or no encoder")
    return meta


def _member(folder: Path, entry: Mapping[str, Any], meta: Mapping[str, Any]) -> Member:
    """One head, refused unless its file is the one that was written and it fits classes and encoder."""
    name = entry["file"]
    if not isinstance(name, str) or not _HEAD.fullmatch(name):
        raise ValueError(f"{folder}: {name!r} is not the name of a head in a bundle (head-0.safetensors): refused")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path} is missing, or a link to elsewhere: refused")
    if io.hash_file(path) != entry["sha256"]:
        raise ValueError(f"{path} has changed since the bundle was written: make the bundle again")
    head, width = load_head(path), meta["model"]["width"]
    if getattr(head, "encoder_", "") not in ("", meta["model"]["fingerprint"]):
        raise EncoderMismatch(f"{path} was fitted on features of another encoder than {META} names")
    probe = torch.nn.functional.normalize(torch.ones(1, width), dim=1)
    try:
        shape = tuple(head.logits(probe).shape)
    except (ValueError, RuntimeError, TypeError, AttributeError, IndexError) as e:
        raise ValueError(f"{path} does not work on rows of width {width}: {' '.join(str(e).split())[:200]}") from None
    if shape != (1, len(meta["classes"])):
        raise ValueError(
            f"{path} gives scores of shape {shape} for one image; {len(meta['classes'])} classes need (1, {len(meta['classes'])})"
        )
    return Member(str(entry["id"]), str(entry["label"]), head, float(entry["slope"]), float(entry["shift"]))
