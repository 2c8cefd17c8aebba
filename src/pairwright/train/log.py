"""Where a run writes what happens: JSONL always, TensorBoard where it is installed, one live line on the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pairwright.core import provenance


def machine(device: torch.device) -> dict[str, Any]:
    """What a run ran on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else provenance.processor()
    return {"device": name, "threads": torch.get_num_threads(), "versions": provenance.versions()}


class RunLog:
    """Append-only ``log.jsonl`` (lines past the resumed step are dropped first), TensorBoard events, and a tqdm line."""

    def __init__(self, folder: Path, *, total: int, start: int, show: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if _step_of(line) <= start]
            self.path.write_text("".join(line + "\n" for line in kept))
        self._file = self.path.open("a", encoding="utf-8")
        self._board = _board(folder)
        self._bar = tqdm(total=total, initial=start, unit="step", disable=not show, dynamic_ncols=True, file=sys.stderr)
        self._since, self._samples = time.perf_counter(), 0

    def step(self, n: int, samples: int) -> None:
        self._samples += samples
        self._bar.update(n)

    def rate(self) -> float:
        """Samples per second since the last call."""
        now = time.perf_counter()
        rate = self._samples / max(1e-9, now - self._since)
        self._since, self._samples = now, 0
        return rate

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(name, value, step)
        shown = ("stage", "loss", "scale", "samples/s", "lr")
        self._bar.set_postfix_str("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in values.items() if k in shown))

    def say(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._file.close()
        self._bar.close()
        if self._board is not None:
            self._board.close()


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return sys.maxsize


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
