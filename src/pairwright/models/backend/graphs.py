"""The tower as an ONNX graph, in fp32 or int8, run by ONNX Runtime or OpenVINO. Graphs are exported once and kept in the cache folder."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pairwright.core import io
from pairwright.models.backend.eager import Run, padded

OPSET = 17


class _UnitRows(nn.Module):
    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, x_B3HW: Tensor) -> Tensor:
        return self.tower(x_B3HW).z_BD


def exported(tower: nn.Module, hw: tuple[int, int], folder: Path) -> Path:
    """Path of the fp32 graph, images ``x`` (B, 3, H, W) -> unit rows ``z`` (B, D), any B; exported if it is not there yet."""
    path = folder / "fp32.onnx"
    if not path.is_file():
        twin = _UnitRows(copy.deepcopy(tower).cpu().float()).eval()
        free = {"x": {0: "B"}, "z": {0: "B"}}
        names = {"input_names": ["x"], "output_names": ["z"], "dynamic_axes": free}
        with io.atomic(path) as tmp, torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer remarks on shapes that are constants of a tower
            torch.onnx.export(twin, (torch.zeros(2, 3, *hw),), str(tmp), opset_version=OPSET, dynamo=False, **names)
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises on the root logger what to do before it; a user who embeds pictures has no use for that."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def dynamic_int8(tower: nn.Module, hw: tuple[int, int], folder: Path) -> Path:
    """Products in int8; the range of the activations is that of each batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "int8_dynamic.onnx"
    if not path.is_file():
        source = exported(tower, hw, folder)
        with io.atomic(path) as tmp, _quiet():
            quantize_dynamic(source, tmp, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
    return path


def static_int8(tower: nn.Module, x_B3HW: Tensor, folder: Path) -> Path:
    """Products and convolutions in int8; the range of the activations is that of the calibration pictures."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Pictures(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(x_B3HW.cpu().float().split(8))

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.left, None)
            return None if part is None else {"x": part.numpy()}

    path = folder / "int8_static.onnx"
    if not path.is_file():
        source = exported(tower, (x_B3HW.shape[2], x_B3HW.shape[3]), folder)
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
        with io.atomic(path) as tmp, _quiet():
            ops = ["MatMul", "Gemm", "Conv"]
            quantize_static(source, tmp, Pictures(), quant_format=QuantFormat.QDQ, op_types_to_quantize=ops, **kinds)
    return path


def with_onnxruntime(path: Path) -> Run:
    """A session with as many threads as torch has."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["z"], {"x": x.float().contiguous().numpy()})[0])


def with_openvino(path: Path, precision: str, batch: int, hw: tuple[int, int]) -> Run:
    """Compiled for one batch size. precision: what products run in where the graph does not say it (``bf16``, ``f32``)."""
    import openvino as ov

    core: Any = ov.Core()
    graph = core.read_model(str(path))
    graph.reshape({"x": [batch, 3, *hw]})
    how = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(graph, "CPU", how).create_infer_request()

    def run(x_B3HW: Tensor) -> Tensor:
        request.infer([x_B3HW.float().contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    return padded(run, batch)
