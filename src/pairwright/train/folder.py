"""A run's folder: what the run is, whether it may be resumed, and how it was computed (run.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pairwright.core import dist, io, provenance
from pairwright.train import checkpoint
from pairwright.train.stage import Stage

HOW = ("across", "checkpoint_activations", "shard")
"""Settings of a recipe that say how numbers are computed and not which: a run may be resumed with others."""


def plan_of(stages: Sequence[Stage], config: Mapping[str, Any] | None, seed: int) -> dict[str, Any]:
    return {"seed": seed, "stages": [_stage(s) for s in stages], "config": dict(config or {})}


def _stage(stage: Stage) -> dict[str, Any]:
    plan = {"name": stage.name, "steps": stage.steps, "ema": stage.ema, "optim": vars(stage.optim), "data": dict(stage.source.spec())}
    return {**plan, "modifiers": [repr(m) for m in stage.modifiers]} if stage.modifiers else plan


def identity(plan: Mapping[str, Any]) -> str:
    """Hash of what makes two runs the same run. The micro-batch is not part of it: it counts as the whole batch."""
    config = {k: v for k, v in plan["config"].items() if k not in HOW}
    if "micro" in config:
        config["micro"] = 0
    return io.hash_json({"seed": plan["seed"], "stages": plan["stages"], "config": config})


def open_run(out: Path, plan: Mapping[str, Any], resume: bool) -> tuple[Path | None, dict[str, Any]]:
    """Check that the folder fits; return the checkpoint to go on from and the run.json that belongs to it (None, {} for a new run).

    Rank 0 looks and all do as it says: another one may look when rank 0 has begun to write.
    """
    found, problem = None, None
    if dist.rank() == 0:
        try:
            found = _look(out, plan, resume)
        except ValueError as e:
            problem = str(e)
    problem = dist.same_on_all(problem)
    if problem is not None:
        raise ValueError(problem)
    newest = dist.same_on_all(None if found is None else str(found))
    if newest is None:
        return None, {}
    return Path(newest), dist.same_on_all(io.read_json(out / "run.json") if dist.rank() == 0 else None)


def _look(out: Path, plan: Mapping[str, Any], resume: bool) -> Path | None:
    path = out / "run.json"
    newest = checkpoint.latest(out / "checkpoints") if out.exists() else None
    if path.exists() and not resume:
        raise ValueError(f"{out} already holds a run: add --resume to go on with it, or name another folder")
    if newest is not None and path.exists() and identity(io.read_json(path)) != identity(plan):
        raise ValueError(
            f"the run in {out} was started with other settings or data (see {path}): resume it with the same ones, or name another folder"
        )
    return newest if path.exists() else None


def write_run(out: Path, plan: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    if dist.rank() == 0:
        io.write_json(out / "run.json", {"identity": identity(plan), "commit": provenance.commit(), **facts, **plan})
    dist.barrier()
