"""What a run writes: JSON lines always, TensorBoard scalars, and nothing past the step it was resumed at."""

from __future__ import annotations

import json

from pairwright.train.log import RunLog


def test_lines_and_tensorboard_scalars_hold_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, total=3, start=0, show=False)
    for step, loss in ((1, 3.0), (2, 2.5), (3, 2.0)):
        log.write(step, {"loss": loss, "stage": "pairs"})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(r["step"], r["loss"], r["stage"]) for r in lines] == [(1, 3.0, "pairs"), (2, 2.5, "pairs"), (3, 2.0, "pairs")]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 3.0), (2, 2.5), (3, 2.0)]


def test_lines_behind_the_resumed_step_and_torn_lines_are_dropped(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 1}\n{"step": 2, "loss": 1}\n{"step": 3, "loss": 1}\n{"step": 3, "lo')
    log = RunLog(tmp_path, total=5, start=2, show=False)
    log.write(3, {"loss": 9})
    log.close()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_the_rate_is_samples_since_the_last_call(tmp_path, monkeypatch):
    clock = iter([100.0, 102.0, 106.0])
    monkeypatch.setattr("pairwright.train.log.time.perf_counter", lambda: next(clock))
    log = RunLog(tmp_path, total=5, start=0, show=False)
    log.step(1, 50)
    log.step(1, 50)
    assert log.rate() == 50.0
    log.step(1, 20)
    assert log.rate() == 5.0
    log.close()
