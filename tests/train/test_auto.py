"""The micro-batch that is found by trying: how it is chosen, that it leaves the model alone, and that a run keeps it."""

from __future__ import annotations

import json

import pytest
import torch
from toy import ToyPairs, model, stages, weights

from pairwright.cli.overrides import override
from pairwright.core import io
from pairwright.recipes.clip import ClipConfig
from pairwright.train import auto, checkpoint, folder
from pairwright.train.auto import Trial, choose, find_micro
from pairwright.train.loop import Interrupted, run

MB = 2**20


def trials(*seconds_per_row: float, first: int = 4) -> list[Trial]:
    """Doubling sizes, 1 MB a row."""
    return [Trial(first * 2**i, s * first * 2**i, first * 2**i * MB) for i, s in enumerate(seconds_per_row)]


@pytest.mark.parametrize(
    ("seconds", "n", "budget", "expected"),
    [
        ((4, 2, 1.0, 1.0), 1024, 999 * MB, 16),  # no faster from 16 rows on: the smallest such size
        ((4, 2, 1.0, 1.3), 32, 999 * MB, 0),  # the whole batch is slower per row, but spares the second pass
        ((4, 2, 1.0, 1.4), 32, 999 * MB, 16),  # so much slower that caching wins
        ((4, 2, 1.0, 0.5), 64, 20 * MB, 16),  # 32 rows are faster, but do not fit
        ((4,), 64, 1 * MB, 1),  # not even the first trial fits
        ((), 64, 1 * MB, 1),  # nothing could be tried
    ],
)
def test_choice(seconds, n, budget, expected):
    assert choose(trials(*seconds), n, budget) == expected


def fake(monkeypatch, seconds_per_row, largest: int = 10**9) -> list[int]:
    seen: list[int] = []

    def attempt(model, inputs, rows, context):
        seen.append(rows)
        if rows > largest:
            raise torch.cuda.OutOfMemoryError("full")
        return Trial(rows, seconds_per_row(rows) * rows, rows * MB)

    monkeypatch.setattr(auto, "_try", attempt)
    return seen


@pytest.mark.parametrize(
    ("law", "largest", "budget", "seen", "found"),
    [
        (lambda rows: 1 / rows, 10**9, 999 * MB, [4, 8, 16, 32, 64], 0),  # up to the whole batch
        (lambda rows: abs(rows - 16) + 1, 10**9, 999 * MB, [4, 8, 16, 32], 16),  # time gets worse
        (lambda rows: 1 / rows, 10**9, 33 * MB, [4, 8, 16, 32], 32),  # memory would not do for more
        (lambda rows: 1 / rows, 20, 999 * MB, [4, 8, 16, 32], 16),  # the card is full
    ],
)
def test_doubling_ends_where_memory_or_time_gets_worse(monkeypatch, law, largest, budget, seen, found):
    tried = fake(monkeypatch, law, largest)
    inputs = {"image": torch.zeros(64, 3, 16, 16)}
    assert find_micro(model(), inputs, budget=budget) == found
    assert tried == seen


def test_trying_leaves_the_model_as_it_was_and_counts_what_is_kept():
    m = model().train()
    before, batch = weights(m), next(ToyPairs(64).batches(0))
    small, large = (auto._try(m, batch.inputs, rows, auto.nullcontext) for rows in (8, 64))
    assert find_micro(m, batch.inputs, budget=small.used) <= 8
    assert 4 < large.used / small.used < 9  # a part does not grow with the rows
    assert all(torch.equal(a, b) for a, b in zip(before.values(), weights(m).values()))
    assert all(p.grad is None for p in m.parameters())


def test_a_run_notes_what_was_found_and_keeps_it_when_it_is_resumed(tmp_path, monkeypatch):
    found = iter([5, 3])
    monkeypatch.setattr("pairwright.train.loop.find_micro", lambda *a, **k: next(found))
    written = checkpoint.save

    def stop_at_six(where, step, *args):
        written(where, step, *args)
        if step == 6:
            raise Interrupted("cut")

    monkeypatch.setattr(checkpoint, "save", stop_at_six)
    go = lambda m, **how: run(
        m, stages(12, micro="auto"), tmp_path, config={"micro": "auto"}, save_every=2, precise="fp32", show=False, **how
    )
    with pytest.raises(Interrupted):
        go(model())
    monkeypatch.setattr(checkpoint, "save", written)
    cut = go(model(), resume=True)
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["micro"] == {"first": 5, "second": 3}
    by_hand = model()
    plan = [s.__class__(**{**vars(s), "micro": m}) for s, m in zip(stages(12), (5, 3))]
    run(by_hand, plan, tmp_path / "by hand", precise="fp32", show=False)
    assert all(torch.equal(a, b) for a, b in zip(weights(cut).values(), weights(by_hand).values()))


def test_how_a_run_is_computed_is_not_what_it_is():
    """The identity of plans written before there was a choice stays: the hash of seed, stages and configuration."""
    plan = {"seed": 3, "stages": [{"name": "pairs", "steps": 5}], "config": {"lr": 0.1, "micro": 0}}
    assert folder.identity(plan) == io.hash_json(plan)
    for how in ({"micro": "auto"}, {"micro": 64}, {"shard": True}, {"across": "ring"}, {"checkpoint_activations": True}):
        assert folder.identity({**plan, "config": {**plan["config"], **how}}) == folder.identity(plan)
    assert folder.identity({**plan, "config": {"lr": 0.2, "micro": 0}}) != folder.identity(plan)


def test_a_resumed_run_keeps_its_precision(tmp_path, monkeypatch):
    """Whether bf16 pays is measured, and may come out otherwise on a busy machine."""
    answers = iter(["fp32", "bf16"])
    monkeypatch.setattr("pairwright.train.precision.choose", lambda precise, device: next(answers))
    for resume in (False, True):
        run(model(), stages(6), tmp_path, resume=resume, show=False)
        assert json.loads((tmp_path / "run.json").read_text())["precision"] == "fp32"


@pytest.mark.parametrize(("said", "expected"), [("micro=auto", "auto"), ("micro=8", 8), ("across=ring", "ring")])
def test_it_can_be_set_on_the_command_line(said, expected):
    assert getattr(override(ClipConfig(), [said]), said.partition("=")[0]) == expected


def test_other_words_are_refused():
    with pytest.raises(ValueError, match="micro=often"):
        override(ClipConfig(), ["micro=often"])
