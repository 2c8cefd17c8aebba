"""Interpolation against a loop in numpy, a linear model's outputs, and whole model folders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pairwright.core.numerics import generator
from pairwright.merge.interpolate import Interpolate
from pairwright.merge.weights import merge_files, merge_states
from pairwright.models.load import load, save
from pairwright.models.tiny import tiny


def states(n: int = 2) -> list[dict[str, torch.Tensor]]:
    draw = lambda i, *shape: torch.randn(shape, generator=generator("interpolate", i, *shape))
    return [{"w": draw(i, 3, 4), "b": draw(i, 3), "s": draw(i)} for i in range(n)]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_every_number_lies_on_the_line(alpha):
    base, tuned = states()
    made = merge_states(Interpolate(alpha), base, [tuned])
    for name in base:
        a, b = np.atleast_1d(base[name].numpy()).ravel(), np.atleast_1d(tuned[name].numpy()).ravel()
        expected = [np.float32((1 - alpha) * float(x) + alpha * float(y)) for x, y in zip(a, b)]
        np.testing.assert_allclose(np.atleast_1d(made[name].numpy()).ravel(), expected, rtol=1e-6, atol=1e-7)


def test_the_ends_are_the_models_bit_for_bit_whatever_the_other_holds():
    base, tuned = states()
    broken = {k: torch.full_like(v, float("nan")) for k, v in tuned.items()}
    assert all(torch.equal(v, base[k]) for k, v in merge_states(Interpolate(0.0), base, [broken]).items())
    assert all(torch.equal(v, tuned[k]) for k, v in merge_states(Interpolate(1.0), broken, [tuned]).items())
    halves = {k: v.bfloat16() for k, v in base.items()}, {k: v.bfloat16() for k, v in tuned.items()}
    assert all(torch.equal(v, halves[1][k]) for k, v in merge_states(Interpolate(1.0), halves[0], [halves[1]]).items())


def test_the_weights_of_a_linear_model_interpolate_its_outputs():
    torch.manual_seed(0)
    first, second, third = (nn.Linear(5, 3) for _ in range(3))
    third.load_state_dict(merge_states(Interpolate(0.3), first.state_dict(), [second.state_dict()]))
    x = torch.randn(7, 5)
    torch.testing.assert_close(third(x), 0.7 * first(x) + 0.3 * second(x))


def test_model_folders_merge_into_a_folder_that_loads(tmp_path):
    models = [tiny(seed, size=16, width=32, dim=16, layers=1, vocab=256, context=16) for seed in (0, 1)]
    paths = [save(m, tmp_path / str(i)) for i, m in enumerate(models)]
    out = merge_files(Interpolate(0.25), paths[0], [paths[1]], tmp_path / "merged")
    made, (a, b) = load(f"local-dir:{out}"), (m.state_dict() for m in models)
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, 0.75 * a[name] + 0.25 * b[name], rtol=1e-6, atol=1e-6)
    assert torch.equal(made.tokenizer(["a red star"]), models[0].tokenizer(["a red star"]))
    with pytest.raises(ValueError, match="is the base"):
        merge_files(Interpolate(), paths[0], [paths[1]], paths[0])


def test_bad_settings_and_numbers_of_models_are_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        Interpolate(1.5)
    base, *tuned = states(3)
    with pytest.raises(ValueError, match="takes one tuned model, got 2"):
        merge_states(Interpolate(), base, tuned)
