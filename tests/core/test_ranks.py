"""Every row-separable loss, with several positives and absent rows: in blocks, in tiles, on several processes by gathering and by a ring,
equal to the whole on one."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ranks import CASES, DTYPES, WAYS, losses

SCRIPT = Path(__file__).with_name("ranks.py")
LOSSES = [name for name, _ in losses()]
pytestmark = pytest.mark.timeout(1800)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The results on a number of ranks, made when they are first asked for."""
    out = tmp_path_factory.mktemp("ranks") / "found"

    @functools.cache
    def of(world: int) -> dict:
        command = [sys.executable, str(SCRIPT), str(out), str(world)]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return torch.load(f"{out}.{world}", weights_only=True)

    return of


@pytest.mark.parametrize("world", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_any_way_and_any_number_of_ranks_equals_the_whole(found, name, case, world):
    gone_round = 0
    for dtype in DTYPES:
        whole = found(1)[f"{name} | {case} | {dtype} | gather | 12"]
        for across, chunk in WAYS:
            part = found(world)[f"{name} | {case} | {dtype} | {across} | {chunk}"]
            if isinstance(part, str):
                assert across == "ring"
                assert "across='gather'" in part
                continue
            gone_round += across == "ring"
            for key, value in whole.items():
                torch.testing.assert_close(part[key], value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], msg=f"{across} {chunk}: {key}")
    assert gone_round or "info_nce" not in name


def test_gradients_are_not_trivially_equal(found):
    whole = found(1)["losses/contrast/info_nce | groups | torch.float64 | gather | 12"]
    assert all(float(g.abs().max()) > 1e-3 for n, g in whole.items() if n != "bias")
