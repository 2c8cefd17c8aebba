"""Run mechanism checks and write their results: ``python -m pairwright.ledger.claims [NAME ...] [--seeds N] [--workers N] [--stale]``."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairwright.ledger.check import Check
from pairwright.ledger.child import CORES, load_check
from pairwright.ledger.depends import changed, depends
from pairwright.ledger.scan import PACKAGE

ROOT = PACKAGE.parent.parent
FIXTURE_SECONDS = 900.0
"""Ceiling for imports and fixtures, which the check's own limit does not count."""


BUSY = 10
"""How many times longer than its limit a check may take by the clock, on a machine that is busy with other things."""


class CheckFailed(RuntimeError):
    """A check that gave no figures: an error in its code, or its time limit."""


@dataclass(frozen=True)
class Run:
    """The raw figures of one check."""

    planted: list[dict[str, float]]
    control: list[dict[str, float]]
    seconds: float
    processor_seconds: float
    device: str
    versions: dict[str, str]


def check_files(root: Path = ROOT) -> dict[str, Path]:
    folder = root / "claims" / "checks"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: mechanism checks run in a checkout of the repository, not from an installed wheel"
        )
    return {p.stem: p for p in sorted(folder.glob("*.py")) if not p.stem.startswith("_")}


def run_child(check: Check, path: Path, seeds: int, threads: int) -> Run:
    """All seeds in a child process, which is killed with its children when the time is up."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "pairwright.ledger.child", str(path), str(seeds)]
    late = threading.Event()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=env, start_new_session=True, text=True)

        def kill() -> None:
            late.set()
            os.killpg(child.pid, signal.SIGKILL)

        timer = threading.Timer(FIXTURE_SECONDS, kill)
        timer.start()
        events: list[dict[str, Any]] = []
        try:
            assert child.stdout is not None
            for line in child.stdout:
                events.append(json.loads(line))
                if events[-1]["event"] == "ready":
                    timer.cancel()
                    timer = threading.Timer(BUSY * check.limit_seconds, kill)
                    timer.start()
            code = child.wait()
        finally:
            timer.cancel()
            if child.poll() is None:
                kill()
                child.wait()
        errors.seek(0)
        trace = errors.read().decode(errors="replace")
    if late.is_set() or code == -signal.SIGXCPU:
        what = f"its limit of {check.limit_seconds:g} s on {CORES} cores" if events else f"{FIXTURE_SECONDS:g} s for its fixtures"
        raise CheckFailed(
            f"{check.id}: took more than {what}; it was stopped after {sum(e['event'] == 'run' for e in events)} of {2 * seeds} runs"
        )
    if code or not events or events[-1]["event"] != "done":
        raise CheckFailed(f"{check.id}: ended with code {code}\n{trace[-3000:]}")
    runs = [e for e in events if e["event"] == "run"]
    return Run(
        planted=[e["arms"] for e in runs if e["planted"]],
        control=[e["arms"] for e in runs if not e["planted"]],
        seconds=sum(e["seconds"] for e in runs),
        processor_seconds=sum(e["processor_seconds"] for e in runs),
        device=events[0]["device"],
        versions=events[0]["versions"],
    )


def verdict(check: Check, gains: list[float], control: list[float]) -> tuple[str, int]:
    """(status, seeds that reach the margin). With other than the stated number of seeds, `need` keeps its share."""
    reached = sum(g >= check.margin for g in gains)
    if reached < math.ceil(check.need * len(gains) / check.seeds):
        return "not_shown", reached
    return ("shown" if sum(control) / len(control) <= check.control_margin else "partly"), reached


def bootstrap(values: list[float], draws: int = 10_000) -> tuple[float, float]:
    """95% percentile interval of the mean over seeds."""
    import numpy as np

    rng = np.random.default_rng(0)
    means = rng.choice(np.asarray(values), size=(draws, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def result_of(check: Check, run: Run, *, root: Path, path: Path, threads: int) -> dict[str, Any]:
    """The JSON of one finished check."""
    gains = [check.advantage(a) for a in run.planted]
    control = [check.advantage(a) for a in run.control]
    status, reached = verdict(check, gains, control)
    method = root / "src" / "pairwright" / f"{check.card}.py"
    if not method.is_file():
        raise CheckFailed(f"{check.id}: its card {check.card!r} names no file {method}")
    files = depends(root, method, path)
    commit, dirty = _commit(root, list(files))
    tidy = lambda values: [round(v, 6) for v in values]
    return {
        "id": check.id,
        "card": check.card,
        "status": status,
        "claim": check.claim,
        "plant": check.plant,
        "baseline": check.baseline,
        "control": check.control,
        "metric": check.metric,
        "higher_is_better": check.higher_is_better,
        "margin": check.margin,
        "control_margin": check.control_margin,
        "need": check.need,
        "advantage": round(sum(gains) / len(gains), 6),
        "interval": tidy(bootstrap(gains)),
        "control_advantage": round(sum(control) / len(control), 6),
        "k": reached,
        "n": len(gains),
        "seeds": {
            "planted": {arm: tidy([a[arm] for a in run.planted]) for arm in run.planted[0]},
            "control": {arm: tidy([a[arm] for a in run.control]) for arm in run.control[0]},
        },
        "seconds": round(run.seconds, 2),
        "processor_seconds": round(run.processor_seconds, 2),
        "device": run.device,
        "threads": threads,
        "versions": run.versions,
        "commit": commit,
        "dirty": dirty,
        "depends": files,
    }


def _commit(root: Path, files: list[str]) -> tuple[str, bool]:
    """(HEAD, whether any of `files` differs from it); ("", True) outside a repository."""

    def git(*args: str) -> str | None:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return (commit, bool(git("status", "--porcelain", "--", *files))) if commit else ("", True)


def is_stale(root: Path, name: str) -> bool:
    """No result yet, or the code under it has changed since."""
    file = root / "claims" / "results" / f"{name}.json"
    return not file.is_file() or bool(changed(root, json.loads(file.read_text(encoding="utf-8"))["depends"]))


def known(names: Iterable[str], files: Iterable[str]) -> None:
    """ValueError for the first name that no check has."""
    for name in names:
        if name not in files:
            raise ValueError(f"there is no check {name!r}; there are: {', '.join(files) or 'none'}")


def run_check(name: str, *, root: Path = ROOT, seeds: int | None = None, threads: int = 2) -> dict[str, Any]:
    """Run one check and, unless with fewer seeds than it states, write ``claims/results/<name>.json``."""
    files = check_files(root)
    known([name], files)
    check, _ = load_check(files[name])
    n = seeds or check.seeds
    result = result_of(check, run_child(check, files[name], n, threads), root=root, path=files[name], threads=threads)
    if n >= check.seeds:
        from pairwright.core.io import write_json

        write_json(root / "claims" / "results" / f"{name}.json", result)
    return result


def line(r: dict[str, Any]) -> str:
    low, high = r["interval"]
    return (
        f"{r['id']:28s} {r['status']:10s} {r['metric']} {r['advantage']:+.4f} [{low:+.4f}, {high:+.4f}] margin {r['margin']:g}, "
        f"{r['k']}/{r['n']} seeds; control {r['control_advantage']:+.4f} (at most {r['control_margin']:g}); {r['seconds']:.1f} s"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pairwright.ledger.claims", description="Run mechanism checks; without names, all of them.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--seeds", type=int, help="another number of seeds; fewer than the check states: the result is printed, not written"
    )
    parser.add_argument("--workers", type=int, default=1, help="checks at the same time")
    parser.add_argument("--stale", action="store_true", help="only checks without a result or whose code has changed")
    args = parser.parse_args(argv)
    try:
        names = args.names or list(check_files())
        known(names, check_files())  # before the first of them has run for a minute
        if args.stale:
            names = [n for n in names if is_stale(ROOT, n)]
        threads = max(1, min(2, os.cpu_count() or 1) // max(1, args.workers))
        failed = 0
        with ThreadPoolExecutor(max(1, args.workers)) as pool:
            jobs = [pool.submit(run_check, n, seeds=args.seeds, threads=threads) for n in names]
            for job in jobs:
                try:
                    print(line(job.result()), flush=True)
                except CheckFailed as e:
                    failed += 1
                    print(e, file=sys.stderr, flush=True)
    except (ValueError, FileNotFoundError) as e:
        print(e, file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
