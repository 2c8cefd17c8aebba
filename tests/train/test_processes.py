"""Several processes take the same steps as one: replicated and sharded, gathered and by a ring, and with other numbers after a resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pairwright.train import checkpoint

TOY = Path(__file__).with_name("toy.py")
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
RUN = {"steps": 6, "slow": 0.0, "save_every": 2}
pytestmark = pytest.mark.timeout(1800)  # seconds of work, but every process imports torch, and a busy machine may give it a fraction


def finished(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


def weights(out: Path, *legs: dict) -> dict[str, torch.Tensor]:
    """What a run ends with that went through `legs`."""
    finished([str(TOY), str(out), "together", json.dumps([{**RUN, **leg} for leg in legs])])
    return torch.load(out / "final.pt", weights_only=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("alone") / "run", {"processes": 1})


LEGS = {
    "two": [{"processes": 2}],
    "ring, micro-batches": [{"processes": 2, "across": "ring", "micro": 3}],
    "sharded": [{"processes": 2, "sharded": True, "checkpoint_activations": True}],
    "sharded 2, then 1, then 2": [
        {"processes": 2, "sharded": True, "until": 2},
        {"processes": 1, "until": 4},
        {"processes": 2, "sharded": True},
    ],
    "sharded 4 (uneven rows), then sharded 2": [{"processes": 4, "sharded": True, "until": 4}, {"processes": 2, "sharded": True}],
}
SLOW = ("ring, micro-batches", "sharded 4 (uneven rows), then sharded 2")


@pytest.mark.parametrize("legs", [pytest.param(v, id=k, marks=[pytest.mark.slow] * (k in SLOW)) for k, v in LEGS.items()])
def test_any_processes_take_the_same_steps_as_one(tmp_path, alone, legs):
    found = weights(tmp_path / "run", *legs)
    assert found.keys() == alone.keys()
    for name in alone:
        torch.testing.assert_close(found[name], alone[name], atol=2e-5, rtol=1e-4, msg=name)
    names = {p.name for p in (tmp_path / "run" / "checkpoints").rglob("*") if p.is_file()}
    assert {Path(n).suffix for n in names} == {".safetensors", ".json"}
    assert ("model.0-of-2.safetensors" in names) == bool(legs[-1].get("sharded"))


@pytest.mark.slow
def test_a_dead_rank_ends_the_job_with_a_clear_message_and_the_next_start_resumes(tmp_path):
    """Under torchrun, the way users start: one process is killed with SIGKILL in the middle of the run."""
    patience = "--rdzv-conf=read_timeout=600,close_timeout=600"
    launch = ["-m", "torch.distributed.run", "--standalone", patience, "--nproc-per-node=2", str(TOY), str(tmp_path / "run")]
    job = subprocess.Popen([sys.executable, *launch, "60", "0.3", "5"], env=ENV, stderr=subprocess.PIPE, text=True)
    checkpoints, deadline = tmp_path / "run" / "checkpoints", time.time() + 600
    while time.time() < deadline and job.poll() is None and not list(checkpoints.glob("step-*")):
        time.sleep(0.05)
    workers = [int(p) for p in subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True).stdout.split()]
    assert len(workers) == 2, job.communicate()[1][-4000:]
    os.kill(max(workers), signal.SIGKILL)
    _, err = job.communicate(timeout=600)
    assert job.returncode != 0
    assert err.count("RankLost: ") == 1, err[-4000:]
    assert "start the same command again with --resume" in err
    assert int(checkpoint.latest(checkpoints).name.removeprefix("step-")) >= 5
    finished([*launch, "60", "0", "400"])
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 61))
