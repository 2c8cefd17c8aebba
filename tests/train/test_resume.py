import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import model, stages, weights

from pairwright.core import provenance
from pairwright.train import checkpoint
from pairwright.train.loop import Interrupted, run

TOY = Path(__file__).with_name("toy.py")
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def train(out, steps=12, **how):
    m = model()
    run(m, stages(steps), out, precise="fp32", show=False, log_every=1, **how)
    return weights(m)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_polite_stops_at_every_step_end_in_the_same_bits(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", save_every=100)
    written = checkpoint.save

    def stop_after_save(*args, **kwargs):
        written(*args, **kwargs)
        raise Interrupted("cut")

    monkeypatch.setattr(checkpoint, "save", stop_after_save)
    for _ in range(30):
        try:
            result = train(tmp_path / "cut", save_every=1, resume=True)
            break
        except Interrupted:
            continue
    assert same(result, whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_training_lowers_the_loss_and_moves_only_what_it_may(tmp_path):
    second = replace(stages(30)[1], trainable=lambda n: n.startswith("towers.text"))
    m = model()
    before = weights(m)
    run(m, [second], tmp_path / "r", precise="fp32", show=False, log_every=1)
    after = weights(m)
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    assert moved
    assert all(k.startswith("towers.text") for k in moved)


@pytest.mark.parametrize("kills", [pytest.param(10), pytest.param(200, marks=pytest.mark.slow)])
def test_kill_dash_nine_and_resume_is_bit_identical(tmp_path, kills):
    subprocess.run([sys.executable, str(TOY), str(tmp_path / "whole"), "40", "0", "100"], env=ENV, check=True, stderr=subprocess.DEVNULL)
    command = [sys.executable, str(TOY), str(tmp_path / "cut"), "kills", "40", str(kills)]
    done = subprocess.run(command, env=ENV, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    counts = json.loads(done.stdout)
    assert counts["code"] == 0
    assert counts["hit"] >= kills // 2
    load = lambda name: torch.load(tmp_path / name / "final.pt", weights_only=True)
    assert same(load("cut"), load("whole"))


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train(tmp_path / "a", 6)
    with pytest.raises(ValueError, match="--resume"):
        train(tmp_path / "a", 6)


def test_a_run_with_other_settings_is_not_resumed(tmp_path):
    train(tmp_path / "a", 6)
    with pytest.raises(ValueError, match="other settings"):
        train(tmp_path / "a", 9, resume=True)


def test_run_json_says_what_was_run(tmp_path):
    train(tmp_path / "a", 6, config={"lr": 1.0}, seed=7)
    facts = json.loads((tmp_path / "a" / "run.json").read_text())
    assert facts["config"] == {"lr": 1.0}
    assert facts["seed"] == 7
    assert facts["commit"] == provenance.commit()
    assert [s["name"] for s in facts["stages"]] == ["first", "second"]
    assert facts["stages"][0]["data"]["kind"] == "toy"


def test_sigterm_saves_and_says_how_to_go_on(tmp_path):
    child = subprocess.Popen(
        [sys.executable, str(TOY), str(tmp_path / "t"), "3000", "0.01", "100000"], env=ENV, stderr=subprocess.PIPE, text=True
    )
    log, deadline = tmp_path / "t" / "log.jsonl", time.time() + 240
    while not (log.exists() and log.read_text()) and time.time() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert "--resume" in err
    assert checkpoint.latest(tmp_path / "t" / "checkpoints") is not None
