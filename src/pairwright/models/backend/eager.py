"""The tower in torch at another precision: eager, compiled, or replayed as a CUDA graph."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

Run = Callable[[Tensor], Tensor]
"""Preprocessed images (B, 3, H, W) on the model's device -> unit rows (B, D) in float32."""
CHUNK = 16
"""Images that a processor runs at a time where that costs nothing: the activations of so many stay in its second-level cache."""


def converted(tower: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A frozen copy in another dtype, channels last where it convolves."""
    twin = copy.deepcopy(tower).to(dtype).eval().requires_grad_(False)
    return twin.to(memory_format=torch.channels_last) if convolves(twin) else twin


def convolves(tower: nn.Module) -> bool:
    """Whether it has convolutions other than one that cuts patches."""
    return any(isinstance(m, nn.Conv2d) and m.kernel_size != m.stride for m in tower.modules())


def runner(tower: nn.Module, dtype: torch.dtype, rows: int | None = None) -> Run:
    """rows: run at most so many images at a time, so that their activations stay in the processor's caches."""
    last = convolves(tower)

    def run(x_B3HW: Tensor) -> Tensor:
        x = x_B3HW.to(dtype)
        x = x.contiguous(memory_format=torch.channels_last) if last else x
        parts = [x] if rows is None else x.split(rows)
        return torch.cat([tower(part).z_BD for part in parts])

    return run


def padded(run: Run, batch: int) -> Run:
    """Always `batch` rows, the last part filled up: compiled code and captured graphs are made for one shape."""

    def padded_run(x_B3HW: Tensor) -> Tensor:
        rows = []
        for part in x_B3HW.split(batch):
            if len(part) < batch:
                whole = part.new_zeros(batch, *part.shape[1:])
                whole[: len(part)] = part
                rows.append(run(whole)[: len(part)])
            else:
                rows.append(run(part))
        return torch.cat(rows)

    return padded_run


def compiler_present(device: torch.device) -> bool:
    """torch.compile needs Triton on a GPU and a C++ compiler on a processor."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++", "cl") if name)


def compiled(tower: nn.Module, dtype: torch.dtype, batch: int) -> Run:
    """Compiled for one batch size, weights frozen into the code."""
    twin = converted(tower, dtype)
    code = torch.compile(lambda x: twin(x).z_BD, dynamic=False, options={"freezing": True})
    return padded(lambda x: code(x.to(dtype)), batch)


def graphed(tower: nn.Module, dtype: torch.dtype, batch: int, hw: tuple[int, int], device: torch.device) -> Run:
    """A CUDA graph of the whole tower for one batch size: no launch overhead, and nothing that waits for the GPU."""
    run = runner(converted(tower, dtype), dtype)
    x_B3HW = torch.zeros(batch, 3, *hw, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(3):  # libraries choose their kernels and allocate workspaces before the capture
            run(x_B3HW)
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        z_BD = run(x_B3HW)

    def replay(x: Tensor) -> Tensor:
        x_B3HW.copy_(x, non_blocking=True)
        graph.replay()
        return z_BD.clone()  # the next replay writes into the same memory

    return padded(replay, batch)
