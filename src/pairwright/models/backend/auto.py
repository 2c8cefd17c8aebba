"""Pick the backend for an image tower by measurement: fastest on this machine among those whose embeddings stay close to fp32."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from pairwright.core.memory import keep_freed_memory
from pairwright.models.backend import store
from pairwright.models.backend.candidates import TABLE, Candidate, Job, candidates
from pairwright.models.backend.eager import Run
from pairwright.models.backend.rule import PRECISIONS, Trial, accepted, choose, worth_trying

FEW = 32
"""With fewer pictures than that nothing is measured unasked: fp32 is done before a choice would be."""
CHECKED = 4
"""Pictures on which a choice from an earlier process is checked again before it is used."""
ROUNDS = 2

_OPEN: WeakKeyDictionary[Any, dict[tuple[Any, ...], Run]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Backend:
    """A backend ready to run: (B, 3, H, W) preprocessed images on the model's device -> (B, D) unit rows in float32."""

    name: str
    precision: str
    run: Run

    def __call__(self, x_B3HW: Tensor) -> Tensor:
        return self.run(x_B3HW)


def backend(model: Any, x_B3HW: Tensor, *, precision: str = "auto", batch: int = 64, images: int | None = None) -> Backend:
    """The backend to embed `images` pictures with, batch by batch, of which `x_B3HW` are the first.

    precision: ``fp32`` is the model itself. ``auto`` is the fastest with a cosine of at least 0.999 to it in every calibration row;
    ``bf16`` and ``int8`` are the fastest of that precision with at least 0.99. What is slow to prepare is only tried where so many images
    would repay it. Measurements are kept on disk (`store`); a choice that rests on earlier ones is checked again on the first pictures.
    """
    check_precision(precision)
    if model.device.type == "cpu":
        keep_freed_memory()
    exact = Backend("torch-fp32", "fp32", lambda x: model.image(x).z_BD)
    if precision == "fp32" or "image" not in model.towers:  # the model itself says what it lacks
        return exact
    images = len(x_B3HW) if images is None else images
    ready = candidates(precision, model.device)
    opened = _OPEN.setdefault(model, {})
    if precision == "auto" and images < FEW and not opened:
        return exact
    key = store.key(model, batch)
    known = {t.name: t for t in store.read(key)}
    mine = lambda name: (key["model"], str(model.device), batch, name)
    for old in [k for k in opened if k[0] != key["model"]]:  # the weights have changed since
        del opened[old]
    # calibration on the user's own pictures, as many as a batch will hold: what is fastest depends on their number
    x_B3HW = x_B3HW[:batch]
    job = Job(model.towers["image"], x_B3HW, batch, store.exports(key["model"]))
    fresh, runs = _measure(exact.run, ready, known, job, precision, images)
    if fresh:
        known |= {t.name: t for t in fresh}
        store.write(key, list(known.values()))
        _prune(job, known.values(), precision, images)
    names = {c.name: c for c in ready}
    refused: set[str] = set()
    while True:
        here = [_from_here(t, mine(t.name) in opened or t.name in runs, known.get(exact.name)) for t in known.values() if t.name in names]
        if not here and precision == "auto":
            return exact
        best = choose(here, precision, images, refused)
        if best.name == exact.name:
            return exact
        if mine(best.name) in opened:
            return Backend(best.name, best.precision, opened[mine(best.name)])
        run, trial = runs.get(best.name), best
        if run is None:
            run, trial = _reopened(exact.run, names[best.name], known[best.name], job)
            if run is None or not accepted(trial, precision):
                known[best.name] = trial
                store.write(key, list(known.values()))
                refused.add(best.name)
                continue
        opened[mine(best.name)] = run
        return Backend(best.name, best.precision, run)


def check_precision(precision: str) -> None:
    """ValueError for a word that is no precision."""
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")


def _from_here(t: Trial, open_already: bool, exact: Trial | None) -> Trial:
    """A trial with the seconds until this process could use it: opening and the check, or nothing."""
    checking = CHECKED * exact.seconds if exact is not None and t.name != exact.name else 0.0
    return replace(t, opening=0.0 if open_already else t.opening + checking)


def _measure(
    exact: Run, ready: Sequence[Candidate], known: dict[str, Trial], job: Job, precision: str, images: int
) -> tuple[list[Trial], dict[str, Run]]:
    """Trials of the candidates that were not tried before and are worth it, and those of them that run."""
    new = sorted((c for c in ready if c.name not in known), key=lambda c: c.opening)
    usable = [t.seconds for t in known.values() if accepted(t, precision)]
    if not usable and precision == "auto":
        usable = [_seconds(exact, job.x_B3HW[:2])]
    # besides the opening, measuring takes the calibration pictures once in fp32 and a few times in the new backend
    pays = lambda c: not usable or worth_trying(c.opening + 2 * len(job.x_B3HW) * min(usable), min(usable), images)
    if not any(pays(c) for c in new if c.name != "torch-fp32"):
        return [], {}
    trials: list[Trial] = []
    runs: dict[str, Run] = {}
    start = time.perf_counter()
    want_BD = exact(job.x_B3HW)
    _wait(job.device)
    if "torch-fp32" not in known:
        trials.append(Trial("torch-fp32", "fp32", (time.perf_counter() - start) / len(want_BD), 0.0, 1.0, 1.0))
        usable += [trials[0].seconds] if precision == "auto" else []
    for c in new:
        if c.name == "torch-fp32" or not pays(c):
            continue
        trial, run = trial_of(c, job, want_BD)
        trials.append(trial)
        usable += [trial.seconds] if accepted(trial, precision) else []
        if run is not None:
            runs[c.name] = run
    return trials, runs


def trial_of(c: Candidate, job: Job, want_BD: Tensor) -> tuple[Trial, Run | None]:
    """Build a candidate, compare its rows with fp32's, and time it. What goes wrong in it makes it refused, it does not end the job."""
    try:
        run = _build(c, job)
        start = time.perf_counter()
        if c.files:  # as it will be in the next process, which finds the exported graph
            run = _build(c, job)
            first = run(job.x_B3HW)
            _wait(job.device)
            opening = time.perf_counter() - start
        else:
            first = run(job.x_B3HW)
            _wait(job.device)
            opening = c.opening + time.perf_counter() - start
        low, mean = closeness(first, want_BD)
        return Trial(c.name, c.precision, _seconds(run, job.x_B3HW), opening, low, mean), run
    except Exception as e:
        return Trial(c.name, c.precision, error=f"{type(e).__name__}: {str(e).strip()[:200]}"), None


def _build(c: Candidate, job: Job) -> Run:
    with torch.inference_mode(False), torch.no_grad():
        return c.build(job)


def _reopened(exact: Run, c: Candidate, known: Trial, job: Job) -> tuple[Run | None, Trial]:
    """A backend that an earlier process measured, checked on a few pictures of this job."""
    x_B3HW = job.x_B3HW[:CHECKED]
    try:
        run = _build(c, job)
        low, mean = closeness(run(x_B3HW), exact(x_B3HW))
    except Exception as e:
        return None, replace(known, error=f"{type(e).__name__}: {str(e).strip()[:200]}")
    return run, replace(known, cosine_min=min(low, known.cosine_min), cosine_mean=min(mean, known.cosine_mean))


def closeness(got_BD: Tensor, want_BD: Tensor) -> tuple[float, float]:
    """Least and mean cosine over the rows; 0 where a row is not finite or not a unit row."""
    got = got_BD.double()
    cosine_B = (got * want_BD.double()).sum(-1)
    cosine_B = torch.where((got.norm(dim=-1) - 1).abs() < 1e-2, cosine_B, 0.0).nan_to_num(0.0)
    return float(cosine_B.min()), float(cosine_B.mean())


def _seconds(run: Run, x_B3HW: Tensor) -> float:
    """Seconds per image: the best of a few rounds, after what was run before as a warm-up."""
    best = float("inf")
    for _ in range(ROUNDS):
        _wait(x_B3HW.device)
        start = time.perf_counter()
        run(x_B3HW)
        _wait(x_B3HW.device)
        best = min(best, time.perf_counter() - start)
    return best / len(x_B3HW)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _prune(job: Job, known: Iterable[Trial], precision: str, images: int) -> None:
    """Drop exported graphs that the choice does not open: they are as large as the weights, and can be made again."""
    with contextlib.suppress(ValueError, OSError):
        chosen = choose(known, precision, images).name
        keep = {name for c in TABLE if c.name == chosen for name in c.files}
        for path in job.folder.glob("*.onnx"):
            if path.name not in keep:
                path.unlink(missing_ok=True)
