"""A model behind a cache of its features: tasks ask it for embeddings, and nothing is embedded twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.encoded import Encoded
from pairwright.core.features import ClassText
from pairwright.core.numerics import unit
from pairwright.data.text.templates import fill, templates
from pairwright.evaluate.store import FeatureStore
from pairwright.models.embed import embed

Progress = Callable[[str, int, int], None]
"""Called with (what, done, of) while items are embedded."""


class Asker:
    """Embeds pictures (encoded bytes) and texts with `model` through a cache.

    cache: keep features on disk (in the user's cache folder), keyed by the model's fingerprint and each item's bytes. seconds: time
    spent embedding so far.
    """

    def __init__(self, model: Any, *, batch_size: int = 128, cache: bool = True, progress: Progress | None = None) -> None:
        if model.preprocess is None or model.tokenizer is None:
            raise ValueError("this model has no preprocessing or no tokenizer: load it with pairwright.load, which brings both")
        self.model = model
        self.fingerprint: str = model.fingerprint
        self.batch_size = batch_size
        self.progress = progress
        self.store = FeatureStore(self.fingerprint, io.cache_dir("features") if cache else None)
        self.seconds = 0.0

    def images(self, pictures: Sequence[bytes]) -> Tensor:
        """Unit rows (N, D) of encoded pictures; a picture that cannot be read raises (a suite asks all of its rows)."""
        return self.store.get("images", pictures, lambda new: self._embed("pictures", images=new, skip_bad=False))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit rows (N, D) of texts."""
        return self.store.get("texts", texts, lambda new: self._embed("texts", texts=new))

    def class_text(self, names: Sequence[str], source: str | Sequence[str] = "{}") -> ClassText:
        """Class embeddings: the unit mean over templates (a list's name, or templates) of each name."""
        rows = templates(source)
        prompts_CPD = self.texts([fill(t, n) for n in names for t in rows]).view(len(names), len(rows), -1)
        scale = float(self.model.scale.detach())
        return ClassText(unit(prompts_CPD.mean(1)), tuple(names), prompts_CPD, encoder=self.fingerprint, scale=scale)

    def similarity(self, q_ND: Tensor, k_KD: Tensor) -> Tensor:
        """The model's own similarity (before scale and bias) of all rows with all columns."""
        device = self.model.device
        with torch.no_grad():
            return self.model.similarity(Encoded(q_ND.to(device)), Encoded(k_KD.to(device))).float().cpu()

    def scaled(self, scores: Tensor) -> Tensor:
        """The model's logits from its similarities."""
        bias = 0.0 if self.model.logit_bias is None else float(self.model.logit_bias.detach())
        return scores * float(self.model.scale.detach()) + bias

    def _embed(self, what: str, **ask: Any) -> Tensor:
        start, report = time.perf_counter(), self.progress
        told = False if report is None else lambda done, of: report(what, done, of)
        z_ND = embed(self.model, batch_size=self.batch_size, progress=told, **ask).z_ND
        self.seconds += time.perf_counter() - start
        return z_ND.clone()  # a plain tensor: heads cannot learn from inference tensors
