"""The notebook of a comparison: one line per finished run, appended as it ends, so that a killed comparison goes on where it stopped."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairwright.core import io

Key = tuple[str, int, int]
"""(method, shots, seed)."""


@dataclass(frozen=True)
class Trial:
    """One run: the score of every row of every exam, or why there is none. outcome: done, refused (with the method's reason) or failed."""

    method: str
    shots: int
    seed: int
    outcome: str = "done"
    why: str = ""
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    chosen: str = "defaults"
    seconds_fit: float = 0.0
    seconds_ask: float = 0.0
    commit: str = ""

    @property
    def key(self) -> Key:
        return self.method, self.shots, self.seed


class Notebook:
    """Trials in memory, and in ``trials.jsonl`` of a folder where one is given.

    plan: what is compared on what (JSON). A folder that holds trials of another plan is refused, with what differs. A last line that a kill
    cut short is dropped; runs that were refused or failed are tried again.
    """

    def __init__(self, plan: Mapping[str, Any], folder: str | Path | None = None) -> None:
        self.trials: dict[Key, Trial] = {}
        self.path = None if folder is None else Path(folder) / "trials.jsonl"
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            self._read(dict(plan))
        else:
            io.write_text(self.path, json.dumps({"plan": plan}) + "\n")

    def add(self, trial: Trial) -> None:
        """Keep a trial, and write it down (on disk when this returns)."""
        self.trials[trial.key] = trial
        if self.path is not None:
            row = {**trial.__dict__, "scores": {name: pack(v) for name, v in trial.scores.items()}}
            with self.path.open("a", encoding="utf-8") as f:
                f.write(json.dumps(row) + "\n")
                f.flush()
                os.fsync(f.fileno())

    def _read(self, plan: dict[str, Any]) -> None:
        assert self.path is not None
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            io.write_text(self.path, whole)
        head, *lines = whole.splitlines() or ["{}"]
        old = json.loads(head).get("plan", {})
        plan = json.loads(json.dumps(plan))
        if different := [k for k in plan.keys() | old.keys() if plan.get(k) != old.get(k)]:
            k = sorted(different)[0]
            raise ValueError(
                f"{self.path.parent} holds another comparison ({k} was {old.get(k)!r}, is {plan.get(k)!r}): give another one or remove it"
            )
        for line in lines:
            row = json.loads(line)
            trial = Trial(**{**row, "scores": {name: unpack(v) for name, v in row["scores"].items()}})
            if trial.outcome == "done":
                self.trials[trial.key] = trial


def pack(values: NDArray[np.float64]) -> str:
    """Scores as text: nearly all are 0 or 1, so they shrink to a few bits a row."""
    return base64.b64encode(zlib.compress(values.astype("<f4").tobytes(), 6)).decode()


def unpack(text: str) -> NDArray[np.float64]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<f4").astype(np.float64)
