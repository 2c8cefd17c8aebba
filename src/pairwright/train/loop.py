"""The one training loop: stages, checkpoints at any step, exact resume, one live line.

A step is a pure function of (weights, optimizer state, step number): the data source, the learning rate and every random draw are keyed by
the step, so a run that was killed and resumed ends with the same bits as one that was not (on one machine with the same thread count).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import dist
from pairwright.core.memory import keep_freed_memory
from pairwright.core.numerics import seed_of
from pairwright.models.dual import DualEncoder
from pairwright.train import checkpoint, optim, precision, schedule
from pairwright.train.auto import find_micro
from pairwright.train.ema import EMA
from pairwright.train.feed import ahead, to
from pairwright.train.folder import open_run, plan_of, write_run
from pairwright.train.log import RunLog, machine
from pairwright.train.recompute import recomputed
from pairwright.train.shard import shard, whole
from pairwright.train.stage import Stage
from pairwright.train.step import Towers, gradients
from pairwright.train.stop import Interrupted, RankLost, StopOnSignal, clear_when_a_rank_is_lost

__all__ = ["Interrupted", "RankLost", "run"]


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
    sharded: bool = False,
    show: bool = True,
) -> DualEncoder:
    """Train `model` in place through `stages`; afterwards it holds the averaged weights of the last stage that averages.

    out: the run's folder (run.json, log.jsonl, checkpoints/). resume: go on from the newest whole checkpoint; a folder that holds a run is
    refused otherwise. save_every, log_every: in steps. precise: ``auto``, ``fp32`` or ``bf16``. sharded: split weights and optimizer state
    over the processes (FSDP2) instead of keeping them on each; a run may be resumed either way. Raises Interrupted after saving when
    SIGINT or SIGTERM arrives, RankLost when another process of the job is gone.
    """
    out = Path(out)
    device = model.device
    if device.type == "cpu":
        keep_freed_memory()
    plan = plan_of(stages, config, seed)
    begin, earlier = open_run(out, plan, resume)
    # what was measured once stays: a resumed run must end in the same bits
    precise = earlier["precision"] if precise == "auto" and earlier else precision.choose(precise, device)
    stages = _with_micro(model, stages, earlier.get("micro", {}), functools.partial(precision.autocast, precise, device))
    micro = {s.name: s.micro or 0 for s in stages}
    write_run(out, plan, {"precision": precise, "micro": micro, "processes": dist.world(), "sharded": sharded, **machine(device)})
    first, start, restored = 0, 0, None
    if begin is not None:
        restored, state = checkpoint.load(begin, device)
        first, start = state["stage"], state["stage_step"]
    total = sum(s.steps for s in stages)
    done = sum(s.steps for s in stages[:first]) + start
    log = RunLog(out, total=total, start=done, show=show and dist.rank() == 0) if dist.rank() == 0 else None
    stop = StopOnSignal()
    try:
        with stop, clear_when_a_rank_is_lost(out):
            for i in range(first, len(stages)):
                _run_stage(model, stages, i, out, start, restored, log, stop, seed, save_every, log_every, precise, sharded)
                start, restored = 0, None
    finally:
        if log is not None:
            log.close()
    return model


def _with_micro(model: DualEncoder, stages: Sequence[Stage], earlier: Mapping[str, int], context: Any) -> list[Stage]:
    """The stages with a number for every ``micro="auto"``: that of the run's first start, or one found by trying on its first batch."""
    found = []
    for stage in stages:
        if stage.micro == "auto":
            if stage.name in earlier:
                stage = replace(stage, micro=earlier[stage.name] or None)
            else:
                _set_trainable(model, stage)
                batch = to(next(iter(stage.source.batches(0))), model.device)
                views = {view: x for view, x in batch.inputs.items() if view in stage.objective.needs}
                was = model.training
                with recomputed(model.train(), stage.checkpoint_activations):
                    stage = replace(stage, micro=find_micro(model, views, context=context) or None)
                model.train(was)
        found.append(stage)
    return found


def _set_trainable(model: DualEncoder, stage: Stage) -> None:
    for name, p in model.named_parameters():
        p.requires_grad_(stage.trainable(name))


def _run_stage(
    model: DualEncoder, stages: Sequence[Stage], index: int, out: Path, start: int, restored: Mapping[str, Mapping[str, Tensor]] | None,
    log: RunLog | None, stop: StopOnSignal, seed: int, save_every: int, log_every: int, precise: str, sharded: bool,
) -> None:  # fmt: skip
    stage, device = stages[index], model.device
    _set_trainable(model, stage)
    if sharded and stage.modifiers:
        raise ValueError(f"the stage {stage.name!r} has modifiers, which sharded training does not split: leave shard off")
    for modifier in stage.modifiers:
        modifier.attach(model)
    plain, model = model, shard(model) if sharded else precision.lay_out(model)
    stage.objective.to(device)
    named = [*model.named_parameters(), *((f"objective.{n}", p) for n, p in stage.objective.named_parameters())]
    optimizer = optim.adamw(named, stage.optim)
    ema = EMA(stage.ema) if stage.ema else None
    if restored is not None:
        checkpoint.restore_model(model, restored["model"])
        stage.objective.load_state_dict(restored.get("objective", {}))
        checkpoint.restore_optimizer(optimizer, restored.get("optimizer", {}))
        for i, modifier in enumerate(stage.modifiers):
            modifier.load_state_dict(restored.get(f"modifier{i}", {}))
    if ema is not None:
        ema.attach(model)
        if restored is not None:
            ema.load_state_dict(restored["ema"])
    before = sum(s.steps for s in stages[:index])
    towers = Towers(model, functools.partial(precision.autocast, precise, device))
    skipped = torch.zeros((), device=device)

    def save(step: int) -> None:
        tensors = {"model": model.state_dict(), "optimizer": checkpoint.optimizer_tensors(optimizer)}
        tensors["objective"] = stage.objective.state_dict()
        if ema is not None:
            tensors["ema"] = dict(ema.state_dict())
        tensors |= {f"modifier{i}": dict(m.state_dict()) for i, m in enumerate(stage.modifiers)}
        checkpoint.save(out / "checkpoints", before + step, tensors, {"stage": index, "stage_step": step, "stage_name": stage.name})

    model.train()
    with recomputed(model, stage.checkpoint_activations):
        for step, batch in enumerate(ahead(stage.source.batches(start), stage.steps - start), start):
            lr = stage.optim.lr * schedule.cosine(step, stage.steps, stage.optim.warmup, stage.optim.floor)
            optim.set_lr(optimizer, lr)
            how = {"seed": seed_of(seed, index, step), "micro": stage.micro, "across": stage.across}
            values = gradients(model, stage.objective, to(batch, device), towers=towers, **how)
            norm = optim.clip_gradients(optimizer, stage.optim.clip_norm)
            # one bad batch must not end a run of hours, nor pass unseen
            skipped += optim.step_if_finite(optimizer, norm)
            optim.bound_logit_scale(model)
            optimizer.zero_grad(set_to_none=True)
            if ema is not None:
                ema.after_step(model, step)
            for modifier in stage.modifiers:
                modifier.after_step(model, step)
            done = step + 1
            if log is not None:
                log.step(1, stage.source.batch_size)
                if done % log_every == 0 or done == stage.steps:
                    numbers = {**values, "grad_norm": norm, "scale": model.scale.detach(), **({"skipped": skipped} if skipped else {})}
                    words = {"stage": stage.name, "lr": lr, "samples/s": log.rate()}
                    log.write(before + done, {name: float(v) for name, v in numbers.items()} | words)
            if stage.validate is not None and stage.validate_every and done % stage.validate_every == 0:
                _validate(plain, model, ema, stage, before + done, log)
            stopping = bool(dist.max_over_ranks(torch.tensor(float(stop.asked), device=dist.device())))
            if done % save_every == 0 or done == stage.steps or stopping:
                save(done)
            if stopping and not (done == stage.steps and index == len(stages) - 1):
                raise Interrupted(f"stopped after step {before + done}; everything is saved in {out}: start again with --resume")
    if sharded:
        plain.load_state_dict(whole(model.state_dict() if ema is None else ema.state_dict()))
    elif ema is not None:
        ema.fold(model)
    for modifier in reversed(stage.modifiers):
        modifier.fold(model)
    plain.eval()


def _validate(plain: DualEncoder, model: DualEncoder, ema: EMA | None, stage: Stage, step: int, log: RunLog | None) -> None:
    """Log validation numbers of the averaged weights (of the weights themselves where nothing is averaged), from rank 0."""
    own = None
    if plain is not model:
        plain.load_state_dict(whole(model.state_dict() if ema is None else ema.state_dict()))
    elif ema is not None and log is not None:
        own = {k: v.clone() for k, v in model.state_dict().items()}
        ema.fold(model)
    if log is None:
        return
    plain.eval()
    with torch.no_grad():
        log.write(step, dict(stage.validate(plain)))
    if own is not None:
        model.load_state_dict(own)
    model.train()
