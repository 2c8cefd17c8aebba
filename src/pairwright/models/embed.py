"""`embed`: pictures or texts to unit feature rows with ids and the encoder's fingerprint."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pairwright.core.features import Features, check_finite
from pairwright.data.listing import find_images
from pairwright.models.backend.auto import Backend, backend, check_precision
from pairwright.models.dual import DualEncoder
from pairwright.models.feed import Picture, batches

Report = Callable[[int, int], None]


def embed(
    model: DualEncoder,
    *,
    images: Picture | Iterable[Picture] | None = None,
    texts: str | Iterable[str] | None = None,
    batch_size: int = 64,
    progress: bool | Report = False,
    skip_bad: bool = True,
    skipped: dict[str, str] | None = None,
    workers: int = 2,
    precision: str = "fp32",
) -> Features:
    """Embed images or texts with a model -> Features: ``.z`` float32 unit rows (N, D), ``.ids``, the encoder's fingerprint.

    images: a folder, a path, or any iterable of paths, encoded bytes and PIL images; ids are the paths, else the position. texts: strings;
    ids are the texts. Pictures that cannot be read are left out, with a warning that counts and names them, and noted in `skipped`
    (id -> reason) if you pass a dict; skip_bad=False raises BadImage at the first. progress: True for a bar, or a function (done, total).
    workers: threads that decode pictures while the model computes. Texts run in order of length and come back in yours.

    precision: how pictures are computed. ``fp32`` is the model itself; ``auto`` picks, by measurement, the fastest backend of this
    machine whose rows keep a cosine of 0.999 to it; ``bf16`` and ``int8`` ask for the fastest of that precision (0.99). The rows carry
    the same fingerprint and go with the same texts, which are always computed by the model itself.
    """
    check_precision(precision)
    if (images is None) == (texts is None):
        raise ValueError("give either images= or texts=")
    if batch_size < 1 or workers < 1:
        raise ValueError(f"batch_size and workers must be at least 1, got {batch_size} and {workers}")
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            if texts is not None:
                return _texts(model, [texts] if isinstance(texts, str) else list(texts), batch_size, progress)
            return _images(model, _sources(images), batch_size, progress, skip_bad, skipped, workers, precision)
    finally:
        model.train(was_training)


def _sources(images: Any) -> list[tuple[str, Picture]]:
    """(id, source) of every picture."""
    if isinstance(images, (str, os.PathLike)):
        return [(str(p), p) for p in find_images(images)]
    if isinstance(images, (bytes, Image.Image)):
        images = [images]
    return [(str(x) if isinstance(x, (str, os.PathLike)) else str(i), x) for i, x in enumerate(images)]


def _images(
    model: DualEncoder,
    sources: Sequence[tuple[str, Picture]],
    batch_size: int,
    progress: bool | Report,
    skip_bad: bool,
    skipped: dict[str, str] | None,
    workers: int,
    precision: str,
) -> Features:
    if not sources:
        raise ValueError("nothing to embed: the list of images is empty")
    if model.preprocess is None:
        raise ValueError("this model has no preprocessing: set model.preprocess (pairwright.models.preprocess.Preprocess)")
    normalise = getattr(model.preprocess, "normalise", lambda x: x)
    on_gpu = model.device.type == "cuda"
    z_ND = torch.empty(len(sources), model.width, pin_memory=on_gpu)
    ids: list[str] = []
    bad: dict[str, str] = {}
    run: Backend | None = None
    feed = batches(sources, model.preprocess, batch_size, workers=workers, pin=on_gpu)
    try:
        with _Progress(progress, len(sources)) as tell:
            for batch in feed:
                for name, error in batch.bad:
                    if not skip_bad:
                        raise type(error)(f"{name}: {error}") from None
                    bad[name] = str(error)
                if batch.names:
                    # on a GPU nothing in here waits for it: copies and kernels queue up behind each other
                    x_B3HW = normalise(batch.x.to(model.device, non_blocking=True))
                    if run is None:
                        run = backend(model, x_B3HW, precision=precision, batch=batch_size, images=len(sources))
                    z_ND[len(ids) : len(ids) + len(batch.names)].copy_(run(x_B3HW), non_blocking=True)
                    ids += batch.names
                tell(len(batch))
    finally:
        feed.close()
    if on_gpu:
        torch.cuda.synchronize(model.device)
    if skipped is not None:
        skipped.update(bad)
    if bad:
        first = "; ".join(f"{name}: {why}" for name, why in list(bad.items())[:3])
        if not ids:
            raise ValueError(f"none of the {len(sources)} images could be read ({first})")
        warnings.warn(f"{len(bad)} of {len(sources)} images were skipped ({first}{'; …' if len(bad) > 3 else ''})", stacklevel=4)
    return _features(model, z_ND[: len(ids)], ids, run.name if run is not None else "")


def _texts(model: DualEncoder, texts: list[str], batch_size: int, progress: bool | Report) -> Features:
    if not texts:
        raise ValueError("nothing to embed: the list of texts is empty")
    wrong = next((t for t in texts if not isinstance(t, str)), None)
    if wrong is not None:
        raise ValueError(f"texts are strings, got a {type(wrong).__name__}")
    if model.tokenizer is None:
        raise ValueError("this model has no tokenizer: set model.tokenizer (list of strings -> int64 ids)")
    ids_NL = model.tokenizer(texts)
    length_N = (ids_NL != 0).sum(1) if not hasattr(model.towers["text"], "eot") else model.towers["text"].eot(ids_NL)
    order = length_N.argsort(stable=True)
    rows = []
    with _Progress(progress, len(texts)) as tell:
        for part in order.split(batch_size):
            rows.append(model.text(ids_NL[part].to(model.device)).z_BD.float().cpu())
            tell(len(part))
    return _features(model, torch.cat(rows)[order.argsort()], texts, "torch-fp32")


def _features(model: DualEncoder, z_ND: Tensor, ids: Sequence[str], precision: str) -> Features:
    check_finite(z_ND)
    return Features(z_ND.clone(), ids=tuple(ids), encoder=model.fingerprint, precision=precision)


class _Progress:
    """A tqdm bar, a caller's function, or nothing."""

    def __init__(self, how: bool | Report, total: int) -> None:
        self._report = how if callable(how) else None
        self._done, self._total, self._bar = 0, total, None
        if how is True:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="row")

    def __call__(self, n: int) -> None:
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
        if self._report is not None:
            self._report(self._done, self._total)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
