"""A toy run for the training tests: seeded pairs, a tiny model, and a script form that a subprocess can be killed in."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as td

from pairwright.core import dist
from pairwright.core.numerics import generator
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.models.dual import DualEncoder
from pairwright.models.tiny import tiny
from pairwright.train import checkpoint
from pairwright.train.loop import Interrupted, run
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig
from pairwright.train.stage import Batch, Stage


class ToyPairs:
    """Source of seeded pictures and token ids; batch k depends on k alone."""

    def __init__(self, batch_size: int = 16, slow: float = 0.0) -> None:
        self.batch_size, self.slow = batch_size, slow

    def spec(self) -> dict:
        return {"kind": "toy", "batch_size": self.batch_size}

    def batches(self, start: int) -> Iterator[Batch]:
        step = start
        while True:
            g = generator("toy", step)
            images = torch.rand(self.batch_size, 3, 16, 16, generator=g)
            ids = torch.randint(3, 60, (self.batch_size, 6), generator=g)
            ids[:, -1] = 63
            n = self.batch_size // dist.world()
            mine = slice(dist.rank() * n, (dist.rank() + 1) * n)
            yield Batch({"image": images[mine], "text": ids[mine]}, group_B=torch.arange(self.batch_size)[mine] // 2)
            time.sleep(self.slow)
            step += 1


def model() -> DualEncoder:
    return tiny(3, image="vit", size=16, width=32, dim=24, layers=2, patch=8, vocab=64, context=8)


def stages(steps: int = 12, slow: float = 0.0, ema: float = 0.9, **more: Any) -> list[Stage]:
    optim = OptimConfig(lr=1e-3, warmup=2)
    make = lambda name, n: Stage(name, Sum({"clip": InfoNCE()}), ToyPairs(slow=slow), n, optim, ema=ema, **more)
    return [make("first", steps // 3), make("second", steps - steps // 3)]


def weights(m: DualEncoder) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in m.state_dict().items()}


def train(out: Path, steps: int, slow: float, save_every: int, sharded: bool = False, **more: Any) -> None:
    """One run from wherever `out` stands, ending in final.pt."""
    m = model()
    m.towers["image"].patch_dropout = 0.5
    plan = stages(steps, slow=slow, **more)
    run(m, plan, out, resume=True, save_every=save_every, log_every=1, precise="fp32", show=False, sharded=sharded)
    if dist.rank() == 0:
        torch.save(weights(m), out / "final.pt.tmp")
        os.replace(out / "final.pt.tmp", out / "final.pt")


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child process: no second import of torch, which a hundred kills could not afford."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()  # nobody above this will
        finally:
            os._exit(code)
    return pid


def kill_and_resume(out: Path, steps: int, kills: int, seed: int) -> dict[str, int]:
    """SIGKILL the run at random instants and start it again, then let it end. Counts kills of a live process, and those inside a save."""
    rng, hit, saving = random.Random(seed), 0, 0
    for _ in range(kills):
        pid = fork(lambda: train(out, steps, 0.005, 2))
        time.sleep(rng.uniform(0.0, 0.45))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        hit += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        saving += any(out.glob("checkpoints/.step-*"))
        if (out / "final.pt").exists():
            # the run got to its end: kill another one
            (out / "final.pt").unlink()
            shutil.rmtree(out / "checkpoints")
    code = os.waitpid(fork(lambda: train(out, steps, 0.0, 2)), 0)[1]
    return {"hit": hit, "saving": saving, "code": code}


def together(out: Path, legs: list[dict[str, Any]]) -> None:
    """Run legs one after another, each on its number of `processes` and up to its step `until` (all of them where it is not given)."""
    for i, leg in enumerate(legs):
        world, until = leg.pop("processes"), leg.pop("until", None)
        pids = [fork(functools.partial(_rank, out, r, world, f"{out}.store{i}", until, leg)) for r in range(world)]
        codes = [os.waitpid(pid, 0)[1] for pid in pids]
        if any(codes):
            sys.exit(f"the ranks of leg {i} ended with {codes}")


def _rank(out: Path, rank: int, world: int, store: str, until: int | None, leg: dict[str, Any]) -> None:
    if world > 1:
        # a file needs no port, no host name and no patience
        td.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    written = checkpoint.save

    def stop_there(folder: Path, step: int, *args: Any) -> None:
        written(folder, step, *args)
        if step == until:
            raise Interrupted(f"stopped at step {step}")

    checkpoint.save = stop_there
    with contextlib.suppress(Interrupted):
        train(out, **leg)
    dist.stop()


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    if sys.argv[2] == "kills":
        print(json.dumps(kill_and_resume(out, int(sys.argv[3]), int(sys.argv[4]), seed=1)))
    elif sys.argv[2] == "together":
        together(out, json.loads(sys.argv[3]))
    else:
        dist.start()
        train(out, int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
        dist.stop()
