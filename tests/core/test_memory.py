"""Freed memory that is kept: measured by page faults in a process of its own, and the user's settings respected."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from pairwright.core.memory import keep_freed_memory
kept = {ask} and keep_freed_memory()
x = torch.ones(1 << 21)
for i in range(60):
    if i == 40: before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layers = [x + k for k in range(6)]
    del layers
print(int(kept), (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)
"""


def faults(ask: bool, **env: str) -> tuple[bool, int]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    out = subprocess.run([sys.executable, "-c", SCRIPT.format(ask=ask)], env=clean | env, capture_output=True, text=True, check=True)
    kept, n = out.stdout.split()
    return kept == "1", int(n)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_large_tensor_is_not_mapped_again_each_time() -> None:
    kept, n = faults(True)
    if not kept:
        pytest.skip("another C library")
    usual = faults(False)[1]
    if usual < 200:
        pytest.skip("large pages: there is little to spare")
    assert n < usual / 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_settings_of_the_user_are_left_alone() -> None:
    assert not faults(True, MALLOC_TRIM_THRESHOLD_="100000")[0]
    assert not faults(True, GLIBC_TUNABLES="glibc.malloc.arena_max=2")[0]
