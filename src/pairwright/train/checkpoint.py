"""Checkpoints that survive a kill at any moment: safetensors and JSON in one folder, written whole, checked before the old one goes.

Layout: ``checkpoints/step-00000123/{model,optimizer,objective,<modifier>}.safetensors`` and ``state.json`` with sizes and hashes of the
others, written last. A folder without a matching state.json does not count. A sharded run of W processes writes W files for each of
these, ``model.0-of-4.safetensors``, with each rank's rows of every tensor and, in the header, which rows they are: any number of
processes reads them back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import dist, io
from pairwright.train import shard

_STATE = "state.json"


def save(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int = 2) -> Path:
    """Write one checkpoint and remove all but the newest `keep`, the older ones only after the new one has been read back.

    All ranks call it, on one file system; rank 0 writes what is not sharded.
    """
    final, tmp = folder / f"step-{step:08d}", folder / f".step-{step:08d}"
    if dist.rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".step-*"):
            shutil.rmtree(stale)
        tmp.mkdir()
    dist.barrier()
    for name, group in tensors.items():
        _write(tmp, name, group)
    dist.barrier()
    if dist.rank() == 0:
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
    dist.barrier()
    return final


def _write(folder: Path, name: str, group: Mapping[str, Tensor]) -> None:
    """One file of a group of tensors, or one per rank where any of them is sharded."""
    r, W = dist.rank(), dist.world()
    if not any(shard.is_sharded(t) for t in group.values()):
        if r == 0:
            io.save_tensors(folder / f"{name}.safetensors", group)
        return
    mine = {k: shard.local(t) for k, t in group.items() if r == 0 or shard.is_sharded(t)}
    first = {k: [shard.rows(len(group[k]), r, W).start, len(group[k])] for k in mine if shard.is_sharded(group[k])}
    io.save_tensors(folder / f"{name}.{r}-of-{W}.safetensors", mine, {"first row, rows": first})


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


def load(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
    """Groups of whole tensors by name, and the state. Sharded groups are read tensor by tensor, when asked for."""
    state = io.read_json(folder / _STATE)
    stems = [name.removesuffix(".safetensors") for name in state["files"]]
    tensors: dict[str, Mapping[str, Tensor]] = {}
    for group in dict.fromkeys(stem.partition(".")[0] for stem in stems):
        if group in stems:
            tensors[group] = io.load_tensors(folder / f"{group}.safetensors", device=str(device))[0]
        else:
            tensors[group] = Pieces([folder / f"{stem}.safetensors" for stem in stems if stem.partition(".")[0] == group], device)
    return tensors, state


class Pieces(Mapping[str, Tensor]):
    """Tensors whose rows lie in several files; each is put together when it is looked up."""

    def __init__(self, paths: list[Path], device: torch.device | str) -> None:
        self.device = device
        self._places: dict[str, list[tuple[Path, int, int]]] = {}
        for path in paths:
            names, meta = io.tensor_names(path)
            for name in names:
                self._places.setdefault(name, []).append((path, *meta["first row, rows"].get(name, (0, 0))))

    def __getitem__(self, name: str) -> Tensor:
        parts = [(first, rows, io.load_tensor(path, name)) for path, first, rows in self._places[name]]
        if len(parts) == 1 and not parts[0][1]:
            return parts[0][2].to(self.device)
        _, rows, part = parts[0]
        found = part.new_empty(rows, *part.shape[1:])
        for first, _, part in parts:
            found[first : first + len(part)] = part
        if sum(len(part) for *_, part in parts) != rows:
            raise ValueError(f"the checkpoint holds {sum(len(p) for *_, p in parts)} of the {rows} rows of {name!r}: a shard is missing")
        return found.to(self.device)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def restore_model(model: torch.nn.Module, saved: Mapping[str, Tensor]) -> None:
    """As `load_state_dict`, for whole and for sharded weights on either side."""
    here = model.state_dict()
    if not any(shard.is_sharded(t) for t in here.values()):
        model.load_state_dict(dict(saved))
        return
    if here.keys() != saved.keys():
        raise ValueError(f"the checkpoint is of another model: {sorted(here.keys() ^ saved.keys())[:3]}… are in one of the two only")
    for name, t in here.items():
        shard.fill(t, saved[name])


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
        p = names[name]
        if value.shape == p.shape and value.ndim:
            mine = torch.zeros_like(p, dtype=value.dtype, requires_grad=False)
            shard.fill(mine, value)
        else:
            mine = value if field == "step" and not _fused(optimizer) else value.to(p.device)
        optimizer.state[p][field] = mine


def _fused(optimizer: torch.optim.Optimizer) -> bool:
    return bool(optimizer.defaults.get("fused"))
