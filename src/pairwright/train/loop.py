"""The one training loop: stages, checkpoints at any step, exact resume, one live line.

A step is a pure function of (weights, optimizer state, step number): the data source, the learning rate and every random draw are keyed by
the step, so a run that was killed and resumed ends with the same bits as one that was not (on one machine with the same thread count).
"""

from __future__ import annotations

import functools
import queue
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pairwright.core import dist, io, provenance
from pairwright.core.numerics import seed_of
from pairwright.models.dual import DualEncoder
from pairwright.train import checkpoint, optim, precision, schedule
from pairwright.train.ema import EMA
from pairwright.train.log import RunLog, machine
from pairwright.train.stage import Batch, Stage
from pairwright.train.step import gradients


class Interrupted(RuntimeError):
    """The run was asked to stop; its state is saved."""


def run(
    model: DualEncoder,
    stages: Sequence[Stage],
    out: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    resume: bool = False,
    save_every: int = 500,
    log_every: int = 20,
    precise: str = "auto",
    show: bool = True,
) -> DualEncoder:
    """Train `model` in place through `stages`; afterwards it holds the averaged weights of the last stage that averages.

    out: the run's folder (run.json, log.jsonl, checkpoints/). resume: go on from the newest whole checkpoint; a folder that holds a run is
    refused otherwise. save_every, log_every: in steps. precise: ``auto``, ``fp32`` or ``bf16``. Raises Interrupted after saving when
    SIGINT or SIGTERM arrives.
    """
    out = Path(out)
    device = model.device
    precise = precision.choose(precise, device)
    plan = {"seed": seed, "stages": [_plan(s) for s in stages], "config": dict(config or {})}
    begin = _open_run(out, plan, resume, device, precise)
    first, start, restored = 0, 0, None
    if begin is not None:
        restored, state = checkpoint.load(begin, device)
        first, start = state["stage"], state["stage_step"]
    total = sum(s.steps for s in stages)
    done = sum(s.steps for s in stages[:first]) + start
    log = RunLog(out, total=total, start=done, show=show and dist.rank() == 0) if dist.rank() == 0 else None
    stop = _StopOnSignal()
    try:
        with stop:
            for i in range(first, len(stages)):
                _run_stage(model, stages, i, out, start, restored, log, stop, seed, save_every, log_every, precise)
                start, restored = 0, None
    finally:
        if log is not None:
            log.close()
    return model


def _run_stage(
    model: DualEncoder, stages: Sequence[Stage], index: int, out: Path, start: int, restored: dict | None, log: RunLog | None,
    stop: _StopOnSignal, seed: int, save_every: int, log_every: int, precise: str,
) -> None:  # fmt: skip
    stage, device = stages[index], model.device
    for name, p in model.named_parameters():
        p.requires_grad_(stage.trainable(name))
    stage.objective.to(device)
    named = [*model.named_parameters(), *((f"objective.{n}", p) for n, p in stage.objective.named_parameters())]
    optimizer = optim.adamw(named, stage.optim)
    ema = EMA(stage.ema) if stage.ema else None
    if restored is not None:
        model.load_state_dict(restored["model"])
        stage.objective.load_state_dict(restored.get("objective", {}))
        checkpoint.restore_optimizer(optimizer, restored.get("optimizer", {}))
    if ema is not None:
        ema.attach(model)
        if restored is not None:
            ema.load_state_dict(restored["ema"])
    before = sum(s.steps for s in stages[:index])
    context = functools.partial(precision.autocast, precise, device)

    def save(step: int) -> None:
        if dist.rank() == 0:
            tensors = {"model": model.state_dict(), "optimizer": checkpoint.optimizer_tensors(optimizer)}
            tensors["objective"] = stage.objective.state_dict()
            if ema is not None:
                tensors["ema"] = dict(ema.state_dict())
            checkpoint.save(out / "checkpoints", before + step, tensors, {"stage": index, "stage_step": step, "stage_name": stage.name})
        dist.barrier()

    batches = _ahead(stage.source.batches(start), stage.steps - start)
    model.train()
    for step, batch in enumerate(batches, start):
        lr = stage.optim.lr * schedule.cosine(step, stage.steps, stage.optim.warmup, stage.optim.floor)
        optim.set_lr(optimizer, lr)
        values = gradients(
            model, stage.objective, _to(batch, device), seed=seed_of(seed, index, step), micro=stage.micro, context=context
        )  # fmt: skip
        params = [p for g in optimizer.param_groups for p in g["params"]]
        norm = nn.utils.clip_grad_norm_(params, stage.optim.clip_norm or float("inf"))
        if bool(torch.isfinite(norm)):
            optimizer.step()
            optim.bound_logit_scale(model)
        else:
            # one bad batch must not end a run of hours, nor pass unseen
            values["skipped"] = 1.0
        optimizer.zero_grad(set_to_none=True)
        if ema is not None:
            ema.after_step(model, step)
        done = step + 1
        if log is not None:
            log.step(1, stage.source.batch_size)
            if done % log_every == 0 or done == stage.steps or "skipped" in values:
                extra = {"stage": stage.name, "lr": lr, "grad_norm": float(norm), "scale": float(model.scale.detach()), "samples/s": log.rate()}
                log.write(before + done, {**values, **extra})
        if stage.validate is not None and stage.validate_every and done % stage.validate_every == 0 and log is not None:
            log.write(before + done, _validate(model, ema, stage))
            model.train()
        stopping = dist.same_on_all(stop.asked)
        if done % save_every == 0 or done == stage.steps or stopping:
            save(done)
        if stopping and not (done == stage.steps and index == len(stages) - 1):
            raise Interrupted(f"stopped after step {before + done}; everything is saved in {out}: start again with --resume")
    if ema is not None:
        ema.fold(model)
    model.eval()


def _validate(model: DualEncoder, ema: EMA | None, stage: Stage) -> dict[str, float]:
    """Validation numbers of the averaged weights (of the weights themselves where nothing is averaged)."""
    own = None
    if ema is not None:
        own = {k: v.clone() for k, v in model.state_dict().items()}
        ema.fold(model)
    model.eval()
    with torch.no_grad():
        values = dict(stage.validate(model))
    if own is not None:
        model.load_state_dict(own)
    return values


def _plan(stage: Stage) -> dict[str, Any]:
    return {"name": stage.name, "steps": stage.steps, "ema": stage.ema, "optim": vars(stage.optim), "data": dict(stage.source.spec())}


def _open_run(out: Path, plan: Mapping[str, Any], resume: bool, device: torch.device, precise: str) -> Path | None:
    """Check that the folder fits, write run.json, return the checkpoint to go on from."""
    path = out / "run.json"
    identity = io.hash_json(plan)
    newest = checkpoint.latest(out / "checkpoints") if out.exists() else None
    if path.exists() and not resume:
        raise ValueError(f"{out} already holds a run: add --resume to go on with it, or name another folder")
    if newest is not None and path.exists() and io.read_json(path)["identity"] != identity:
        raise ValueError(
            f"the run in {out} was started with other settings or data (see {path}): resume it with the same ones, or name another folder"
        )
    if dist.rank() == 0:
        io.write_json(path, {"identity": identity, "commit": provenance.commit(), "precision": precise, **machine(device), **plan})
    dist.barrier()
    return newest


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    move = lambda d: {k: v.to(device, non_blocking=True) for k, v in d.items()}
    one = lambda t: None if t is None else t.to(device, non_blocking=True)
    return Batch(move(batch.inputs), move(batch.stored), one(batch.group_B), one(batch.sample_B), move(batch.present))


def _ahead(batches: Iterator[Batch], n: int, depth: int = 2) -> Iterator[Batch]:
    """The first `n` batches, made in a thread while the step before them runs."""
    ready: queue.Queue = queue.Queue(depth)
    over = threading.Event()

    def put(item: object) -> bool:
        while not over.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for _ in range(n):
                if not put(next(batches)):
                    return
            put(None)
        except BaseException as e:
            put(e)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        over.set()
        thread.join()


class _StopOnSignal:
    """Remember SIGINT and SIGTERM instead of dying in the middle of a step; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> _StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            for sig in (signal.SIGINT, signal.SIGTERM):
                self._old[sig] = signal.signal(sig, self._note)
        return self

    def _note(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for sig, handler in self._old.items():
            signal.signal(sig, handler)
