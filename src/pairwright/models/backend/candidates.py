"""The backends there are, as one table: precision, what each needs, how long it takes to open, and how it is built."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pairwright.models.backend import eager, graphs, packed
from pairwright.models.backend.eager import Run
from pairwright.models.backend.threads import side_by_side

INSTALL = "pip install 'pairwright[fast]'"


@dataclass(frozen=True)
class Job:
    """What a backend is built from: the tower, calibration pictures, the batch size it will see, and a folder for exported graphs."""

    tower: nn.Module
    x_B3HW: Tensor
    batch: int
    folder: Path

    @property
    def hw(self) -> tuple[int, int]:
        return self.x_B3HW.shape[2], self.x_B3HW.shape[3]

    @property
    def chunk(self) -> int:
        """Rows of one run of what is built for a single shape."""
        return min(self.batch, 4 * eager.CHUNK) if self.device.type == "cpu" else self.batch

    @property
    def device(self) -> torch.device:
        return self.x_B3HW.device


@dataclass(frozen=True)
class Candidate:
    """One way to run a tower. opening: seconds to expect the first time (whether trying it can pay). libraries: packages it imports.

    device: ``cpu``, ``cuda`` or "" for all. only_asked: never tried by ``auto``. files: exported graphs that it opens again next time.
    able: whether this machine can, given the libraries.
    """

    name: str
    precision: str
    opening: float
    build: Callable[[Job], Run]
    device: str = ""
    libraries: tuple[str, ...] = ()
    only_asked: bool = False
    files: tuple[str, ...] = ()
    able: Callable[[torch.device], bool] = lambda device: True

    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.libraries if importlib.util.find_spec(name) is None)


def _half(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


TABLE = (
    Candidate("torch-fp32", "fp32", 0.0, lambda j: eager.runner(j.tower, torch.float32)),
    Candidate("torch-bf16", "bf16", 0.5, lambda j: eager.runner(eager.converted(j.tower, torch.bfloat16), torch.bfloat16)),
    Candidate(
        "torch-bf16-packed",
        "bf16",
        0.7,
        lambda j: eager.runner(packed.pack(j.tower), torch.bfloat16, 2 * eager.CHUNK),
        device="cpu",
        able=lambda device: packed.supported(),
    ),
    Candidate(
        "torch-bf16-parts",
        "bf16",
        0.7,
        lambda j: side_by_side(eager.runner(packed.pack(j.tower), torch.bfloat16), eager.CHUNK),
        device="cpu",
        able=lambda device: packed.supported() and torch.get_num_threads() > 1,
    ),
    Candidate("torch-fp16", "fp16", 0.5, lambda j: eager.runner(eager.converted(j.tower, torch.float16), torch.float16), device="cuda"),
    Candidate(
        "torch-graph",
        "bf16",
        1.0,
        lambda j: eager.graphed(j.tower, _half(j.device), j.batch, j.hw, j.device),
        device="cuda",
    ),
    Candidate(
        "torch-compile",
        "bf16",
        60.0,
        lambda j: eager.compiled(j.tower, _half(j.device), j.chunk),
        able=eager.compiler_present,
    ),
    Candidate(
        "onnxruntime-fp32",
        "fp32",
        15.0,
        lambda j: graphs.with_onnxruntime(graphs.exported(j.tower, j.hw, j.folder)),
        device="cpu",
        libraries=("onnx", "onnxruntime"),
        files=("fp32.onnx",),
    ),
    Candidate(
        "onnxruntime-int8",
        "int8",
        20.0,
        lambda j: graphs.with_onnxruntime(graphs.dynamic_int8(j.tower, j.hw, j.folder)),
        device="cpu",
        libraries=("onnx", "onnxruntime"),
        files=("int8_dynamic.onnx",),
    ),
    Candidate(
        "openvino-bf16",
        "bf16",
        20.0,
        lambda j: graphs.with_openvino(graphs.exported(j.tower, j.hw, j.folder), "bf16", j.chunk, j.hw),
        device="cpu",
        libraries=("onnx", "openvino"),
        files=("fp32.onnx",),
    ),
    Candidate(
        "onnxruntime-int8-static",
        "int8",
        60.0,
        lambda j: graphs.with_onnxruntime(graphs.static_int8(j.tower, j.x_B3HW, j.folder)),
        device="cpu",
        libraries=("onnx", "onnxruntime"),
        only_asked=True,
        files=("int8_static.onnx",),
    ),
    Candidate(
        "openvino-int8-static",
        "int8",
        60.0,
        lambda j: graphs.with_openvino(graphs.static_int8(j.tower, j.x_B3HW, j.folder), "bf16", j.chunk, j.hw),
        device="cpu",
        libraries=("onnx", "onnxruntime", "openvino"),
        only_asked=True,
        files=("int8_static.onnx",),
    ),
)
"""Cheapest to open first. torch-fp32 is the reference."""


def candidates(precision: str, device: torch.device) -> list[Candidate]:
    """The candidates for a precision that this machine can run. ValueError that says what to install if a library is all that lacks."""
    fit = [c for c in TABLE if (not c.device or c.device == device.type) and precision in (c.precision, "auto")]
    fit = [c for c in fit if not (c.only_asked and precision == "auto")]
    ready = [c for c in fit if not c.missing() and c.able(device)]
    if not ready:
        lacks = sorted({name for c in fit for name in c.missing()})
        if lacks:
            raise ValueError(f"precision {precision} needs {', '.join(lacks)}, not installed here: {INSTALL}, or use --precision auto")
        raise ValueError(f"precision {precision} cannot be run on {device.type}: use --precision auto, fp32 or bf16")
    return ready
