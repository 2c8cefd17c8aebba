"""How a run ends before its end: a signal that is remembered, a process of the job that is gone."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch.distributed as td

from pairwright.core import dist
from pairwright.train import checkpoint


class Interrupted(RuntimeError):
    """The run was asked to stop; its state is saved."""


class RankLost(ConnectionError):
    """Another process of this job has ended, so this one cannot go on."""


class StopOnSignal:
    """Remember SIGINT and SIGTERM instead of dying in the middle of a step; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
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


@contextlib.contextmanager
def clear_when_a_rank_is_lost(out: Path) -> Iterator[None]:
    """Turn the many ways in which a collective fails when its partner is gone into one error that says how to go on."""
    try:
        yield
    except RuntimeError as e:
        # gloo raises plain RuntimeErrors, which name it; NCCL's and the store's have a class
        if dist.world() == 1 or not (isinstance(e, td.DistError) or "gloo" in str(e) or "NCCL" in str(e)):
            raise
        newest = checkpoint.latest(out / "checkpoints")
        where = "before its first checkpoint" if newest is None else f"; the newest checkpoint is {newest}"
        raise RankLost(
            f"process {dist.rank()} of {dist.world()} lost the connection to another one, which has ended{where}. All stop: start the "
            "same command again with --resume, with any number of processes"
        ) from e
