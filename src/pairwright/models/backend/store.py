"""What was measured on this machine, kept on disk: one small JSON file per model, batch size, machine and set of library versions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pairwright.core import io
from pairwright.core.provenance import processor
from pairwright.models.backend.rule import Trial

LIBRARIES = ("pairwright", "torch", "timm", "onnx", "onnxruntime", "openvino")
FORMAT = 1


def libraries() -> dict[str, str]:
    """Versions of what backends run on; a library that is not installed is left out."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """What decides speed besides the libraries."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {"device": device.type, "chip": chip, "isa": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}


def key(model: Any, batch: int) -> dict[str, Any]:
    """Everything that a measurement depends on. The fingerprint covers weights and preprocessing, the architecture their arrangement."""
    tower = model.towers["image"]
    architecture = [type(tower).__name__, getattr(tower, "spec", None), [(n, list(p.shape)) for n, p in tower.named_parameters()]]
    return {
        "format": FORMAT,
        "model": model.fingerprint,
        "architecture": io.hash_json(architecture)[:16],
        "batch": batch,
        "machine": machine(model.device),
        "libraries": libraries(),
    }


def path_of(key_: dict[str, Any]) -> Path:
    return io.cache_dir("backends") / f"{key_['model']}-{io.hash_json(key_)[:16]}.json"


def read(key_: dict[str, Any]) -> list[Trial]:
    """Trials measured before under exactly this key; nothing if there are none or the file is damaged."""
    try:
        record = io.read_json(path_of(key_))
        return [Trial(**t) for t in record["trials"]] if record["key"] == key_ else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write(key_: dict[str, Any], trials: Sequence[Trial]) -> None:
    """Keep trials. A cache that cannot be written costs a measurement next time, no more."""
    rows = [{k: v for k, v in asdict(t).items() if v != float("inf")} for t in trials]
    with contextlib.suppress(OSError):
        io.write_json(path_of(key_), {"key": key_, "trials": rows})


def exports(fingerprint: str) -> Path:
    """Folder of the exported graphs of one model, not created yet. Without a cache that can be written, one in which nothing can be."""
    try:
        return io.cache_dir("backends") / "graphs" / fingerprint
    except OSError:
        return Path(os.devnull, "graphs")
