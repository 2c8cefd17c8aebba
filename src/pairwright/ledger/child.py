"""One check in a process of its own: ``python -m pairwright.ledger.child FILE SEEDS`` prints JSON lines that the runner reads."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from pairwright.ledger.check import Check

CORES = 2
"""A limit of 60 s is that of two cores: 120 s of processor time."""
WATCHED = ("numpy", "torch", "torchvision", "open_clip_torch", "pairwright")


def load_check(path: Path) -> tuple[Check, ModuleType]:
    """Import a check file by its path."""
    spec = importlib.util.spec_from_file_location(f"claims_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no check file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    check = vars(module).get("CHECK")
    if not isinstance(check, Check):
        raise ValueError(f"{path} must define CHECK = Check(...)")
    if check.id != path.stem:
        raise ValueError(f"{path}: CHECK.id is {check.id!r}, but a check is named for its file: {path.stem!r}")
    return check, module


def arms_of(module: ModuleType, seed: int, planted: bool) -> dict[str, float]:
    """Run one seed; every arm has to be a finite number."""
    arms = {name: float(value) for name, value in module.arms(seed, planted).items()}
    lost = [n for n in ("ours", "baseline") if n not in arms]
    wrong = [n for n, v in arms.items() if not math.isfinite(v)]
    if lost or wrong:
        raise ValueError(f"arms(seed={seed}, planted={planted}) lacks {lost}" if lost else f"arms {wrong} are not finite at seed {seed}")
    return arms


def versions() -> dict[str, str]:
    known: dict[str, str] = {"python": platform.python_version()}
    for name in WATCHED:
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return known


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or platform.machine()
    )


def bound(seconds: float) -> None:
    """Let the system end this process after so many more seconds of processor time: unlike the clock, a busy machine does not change it."""
    try:
        import resource
    except ImportError:  # Windows has the runner's clock only
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + seconds), hard))


def main(path: str, seeds: str) -> None:
    # the pipe to the runner is ours alone: whatever a check prints goes to stderr
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**event: Any) -> None:
        pipe.write(json.dumps(event) + "\n")
        pipe.flush()

    check, module = load_check(Path(path))
    prepare = vars(module).get("fixtures")
    if prepare is not None:
        prepare()
    say(event="ready", versions=versions(), device=f"cpu: {processor()}")
    bound(CORES * check.limit_seconds)
    for seed in range(int(seeds)):
        for planted in (True, False):
            start, spent = time.perf_counter(), time.process_time()
            arms = arms_of(module, seed, planted)
            spent, start = time.process_time() - spent, time.perf_counter() - start
            say(event="run", seed=seed, planted=planted, arms=arms, seconds=start, processor_seconds=spent)
    say(event="done")


if __name__ == "__main__":
    main(*sys.argv[1:])
