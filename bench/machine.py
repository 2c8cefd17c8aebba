"""What this machine can do at best: large matrix products in fp32, bf16 and int8."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from pairwright.core.provenance import commit, processor, versions

PEERS = ("faiss-cpu", "onnxruntime", "openvino", "sentence-transformers")


def peak(make: Callable[[int], Callable[[], Any]], seconds: float = 1.5) -> float:
    """The best rate seen, in GFLOP/s (GOP/s), over square products that fit into the given time; slow kinds are tried small only."""
    best = 0.0
    for n in (256, 1024, 2048):
        run = make(n)
        run()
        started = time.perf_counter()
        while time.perf_counter() - started < seconds / 3:
            start = time.perf_counter()
            run()
            best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
        if best and 2 * 2048**3 / best / 1e9 > seconds:
            break
    return round(best, 2)


def gemm(dtype: torch.dtype) -> Callable[[int], Callable[[], Any]]:
    def make(n: int) -> Callable[[], Any]:
        g = torch.Generator().manual_seed(0)
        if dtype == torch.int8:
            a, b = (torch.randint(-127, 128, (n, n), generator=g, dtype=torch.int8) for _ in range(2))
            return lambda: torch._int_mm(a, b)
        a, b = (torch.randn(n, n, generator=g).to(dtype) for _ in range(2))
        return lambda: a @ b

    return make


def describe() -> dict[str, Any]:
    """The machine, the code and its libraries, and the peaks: stored with every result."""
    found = dict(versions())
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": found,
        "gemm_gflops": {
            "fp32": peak(gemm(torch.float32)),
            "bf16": peak(gemm(torch.bfloat16)),
            "int8": peak(gemm(torch.int8)),
        },
    }
