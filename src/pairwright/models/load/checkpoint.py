"""Reading checkpoints: safetensors, or torch files of nothing but tensors. What would have to run code to load is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io

# what a folder may hold, best first: our and open_clip's names, then transformers'
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "model.pth",
)
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name, on the CPU; wrappers of training frameworks (``module.``, ``state_dict``) are taken off."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    state = io.load_tensors(path)[0] if path.suffix == ".safetensors" else _read_torch(path)
    for prefix in ("_orig_mod.", "module."):
        if state and all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    return state


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        raw: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # bytes that are no checkpoint make the reader raise nearly anything
        why = "it is a TorchScript archive" if "TorchScript" in str(e) else "it is damaged, or a pickle that holds more than tensors"
        raise ValueError(
            f"{path} was not loaded: {why}. pairwright never runs code from a checkpoint. Where you trust the file, open it with the "
            "program that wrote it and save its state dict as safetensors."
        ) from None
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(raw, Mapping) and isinstance(raw.get(key), Mapping):
            raw = raw[key]
    if not isinstance(raw, Mapping):
        raise ValueError(f"{path} holds a {type(raw).__name__}, not a state dict of named tensors")
    state = {str(k): v for k, v in raw.items() if isinstance(v, Tensor)}
    if not state:
        raise ValueError(f"{path} holds no tensors: is it a checkpoint?")
    return state


def find_weights(folder: Path) -> Path:
    """The checkpoint in a model folder (safetensors before others)."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    found = sorted((p for p in folder.iterdir() if p.suffix in SUFFIXES), key=lambda p: (SUFFIXES.index(p.suffix), p.name))
    if not found:
        raise FileNotFoundError(f"{folder} holds no checkpoint: expected {WEIGHT_FILES[0]} (or another .safetensors, .bin, .pt file)")
    return found[0]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, with a clear error for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise ValueError(f"{path} is not readable JSON: {e}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value
