"""Checkpoints that survive a kill at any moment: safetensors and JSON in one folder, written whole, checked before the old one goes.

Layout: ``checkpoints/step-00000123/{model,optimizer,objective,<modifier>}.safetensors`` and ``state.json`` with sizes and hashes of the
others, written last. A folder without a matching state.json does not count.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io

_STATE = "state.json"


def save(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int = 2) -> Path:
    """Write one checkpoint and remove all but the newest `keep`, the older ones only after the new one has been read back."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".step-*"):
        shutil.rmtree(stale)
    final, tmp = folder / f"step-{step:08d}", folder / f".step-{step:08d}"
    tmp.mkdir()
    for name, group in tensors.items():
        io.save_tensors(tmp / f"{name}.safetensors", group)
    files = {p.name: {"bytes": p.stat().st_size, "sha256": io.hash_file(p)} for p in sorted(tmp.glob("*.safetensors"))}
    io.write_json(tmp / _STATE, {"step": step, "files": files, **state})
    if final.exists():
        shutil.rmtree(final)
    tmp.replace(final)
    io.sync_folder(folder)
    if not is_whole(final):
        raise OSError(
            f"the checkpoint {final} does not read back as it was written: is the disk full or failing? Older checkpoints were kept."
        )
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)
    return final


def is_whole(folder: Path) -> bool:
    """Whether state.json is there and every file it lists has the size and hash it says."""
    try:
        files = io.read_json(folder / _STATE)["files"]
        return all((folder / n).stat().st_size == f["bytes"] and io.hash_file(folder / n) == f["sha256"] for n, f in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint; damaged ones are passed over."""
    return next((p for p in sorted(folder.glob("step-*"), reverse=True) if is_whole(p)), None)


def load(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    state = io.read_json(folder / _STATE)
    tensors = {name.removesuffix(".safetensors"): io.load_tensors(folder / name, device=str(device))[0] for name in state["files"]}
    return tensors, state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimizer state by parameter name: ``{name}|exp_avg`` and so on."""
    flat = {}
    for group in optimizer.param_groups:
        for name, p in zip(group["names"], group["params"]):
            for key, value in optimizer.state.get(p, {}).items():
                flat[f"{name}|{key}"] = torch.as_tensor(value)
    return flat


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: Mapping[str, Tensor]) -> None:
    names = {name: p for group in optimizer.param_groups for name, p in zip(group["names"], group["params"])}
    unknown = {k.split("|")[0] for k in flat} - set(names)
    if unknown:
        raise ValueError(f"the checkpoint holds optimizer state for {sorted(unknown)[:3]}…, which this stage does not train")
    for key, value in flat.items():
        name, field = key.split("|")
        optimizer.state[names[name]][field] = value if field == "step" else value.to(names[name].device)
