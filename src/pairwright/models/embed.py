"""`embed`: pictures or texts to unit feature rows with ids and the encoder's fingerprint."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pairwright.core.features import Features, check_finite
from pairwright.data.images import BadImage, open_image
from pairwright.data.listing import find_images
from pairwright.models.dual import DualEncoder

Picture = str | os.PathLike[str] | bytes | Image.Image
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
) -> Features:
    """Embed images or texts with a model -> Features: ``.z`` float32 unit rows (N, D), ``.ids``, the encoder's fingerprint.

    images: a folder, a path, or any iterable of paths, encoded bytes and PIL images; ids are the paths, else the position. texts: strings;
    ids are the texts. Pictures that cannot be read are left out, with a warning that counts and names them, and noted in `skipped`
    (id -> reason) if you pass a dict; skip_bad=False raises BadImage at the first. progress: True for a bar, or a function (done, total).
    workers: threads that decode pictures while the model computes. Texts run in order of length and come back in yours.
    """
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
            return _images(model, _sources(images), batch_size, progress, skip_bad, skipped, workers)
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
) -> Features:
    if not sources:
        raise ValueError("nothing to embed: the list of images is empty")
    if model.preprocess is None:
        raise ValueError("this model has no preprocessing: set model.preprocess (pairwright.models.preprocess.Preprocess)")
    preprocess = model.preprocess
    need = 2 * max(preprocess.hw) if hasattr(preprocess, "hw") else None  # JPEGs need not be decoded larger than that

    def read(source: Picture) -> Tensor | Exception:
        try:
            # the preprocessing decides what becomes of transparency
            return preprocess(open_image(source, at_least=need, alpha=True))
        except (BadImage, FileNotFoundError) as e:
            return e

    rows, ids, bad = [], [], {}
    with ThreadPoolExecutor(workers) as pool, _Progress(progress, len(sources)) as tell:
        for names, futures in _ahead(pool, read, sources, batch_size):
            got = [(name, future.result()) for name, future in zip(names, futures)]
            for name, x in got:
                if isinstance(x, Exception):
                    if not skip_bad:
                        raise type(x)(f"{name}: {x}") from None
                    bad[name] = str(x)
            good = [(name, x) for name, x in got if isinstance(x, Tensor)]
            if good:
                rows.append(model.image(torch.stack([x for _, x in good]).to(model.device)).z_BD.float().cpu())
                ids += [name for name, _ in good]
            tell(len(got))
    if skipped is not None:
        skipped.update(bad)
    if bad:
        first = "; ".join(f"{name}: {why}" for name, why in list(bad.items())[:3])
        if not rows:
            raise ValueError(f"none of the {len(sources)} images could be read ({first})")
        warnings.warn(f"{len(bad)} of {len(sources)} images were skipped ({first}{'; …' if len(bad) > 3 else ''})", stacklevel=4)
    return _features(model, torch.cat(rows), ids)


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[Picture], Any], sources: Sequence[tuple[str, Picture]], batch_size: int
) -> Iterator[tuple[list[str], list[Future[Any]]]]:
    """Batches whose pictures are being decoded, the next one started before this one is handed out."""
    waiting: list[tuple[list[str], list[Future[Any]]]] = []
    for start in range(0, len(sources), batch_size):
        part = sources[start : start + batch_size]
        waiting.append(([name for name, _ in part], [pool.submit(read, source) for _, source in part]))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


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
    return _features(model, torch.cat(rows)[order.argsort()], texts)


def _features(model: DualEncoder, z_ND: Tensor, ids: Sequence[str]) -> Features:
    check_finite(z_ND)
    return Features(z_ND.clone(), ids=tuple(ids), encoder=model.fingerprint)


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
