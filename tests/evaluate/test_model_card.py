"""The model card says what the run and the results say, and nothing else."""

from __future__ import annotations

import pytest

from pairwright.evaluate.model_card import model_card
from pairwright.evaluate.result import Number, Result

RUN = {
    "stages": [{"name": "pairs", "steps": 30, "ema": 0.99, "optim": {"lr": 1e-3, "weight_decay": 0.05}, "data": {"batch_size": 64}}],
    "precision": "fp32", "device": "a machine", "threads": 2, "seed": 3, "commit": "abcdef0123456789", "config": {"size": 64},
}  # fmt: skip
LOG = [{"step": 10, "loss": 2.0, "samples/s": 100.0}, {"step": 20, "val_top1": 0.25}, {"step": 30, "loss": 1.0, "samples/s": 300.0}]


def result(suite: str, value: float, fingerprint: str = "f1") -> Result:
    number = Number(value, value - 0.05, value + 0.05, 200, 190, 0.01)
    config = {"suite": {"about": f"what {suite} asks"}}
    return Result(suite, "m", fingerprint, "acc1", {"acc1": number}, commit="c" * 40, config=config, data={"packs": {"lucide": {}}})


def test_it_shows_values_intervals_aims_and_how_it_was_trained():
    bars = {"one": ("acc1", 0.5), "two": ("acc1", 0.5)}
    card = model_card("m", "A model.", run=RUN, results=[result("one", 0.6), result("two", 0.4)], log=LOG, bars=bars, notes=["small"])
    rows = [line for line in card.splitlines() if line.startswith(("| one", "| two"))]
    assert "60.0% [55.0%, 65.0%] (1.0%)" in rows[0]
    assert "not reached" not in rows[0]
    assert "50% (not reached)" in rows[1]
    assert "1,920 samples, fp32, a machine, 2 threads" in card
    assert "top1 0.25" in card
    assert '"size": 64' in card
    assert "- small" in card
    assert "Evaluated on: lucide." in card


def test_results_of_two_models_do_not_mix():
    with pytest.raises(ValueError, match="2 different models"):
        model_card("m", "", run=RUN, results=[result("one", 0.6), result("two", 0.4, "f2")])


def test_without_results_it_says_so():
    assert "Not evaluated yet." in model_card("m", "", run=RUN, results=[])
