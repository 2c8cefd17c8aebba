"""Laws of every merger: see DESIGN, section 5. Names, shapes and dtypes of the base; the neutral setting is the base; files = memory."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from discover import mechanisms
from safetensors.torch import load_file, save_file

from pairwright.core.contracts import Merger
from pairwright.core.numerics import generator
from pairwright.merge.weights import merge_files, merge_states

MERGERS = [p for p in mechanisms("merge") if hasattr(p.values[0], "merge")]
every_merger = pytest.mark.parametrize("cls", MERGERS)


def state(seed: int, near: dict | None = None) -> dict[str, torch.Tensor]:
    """A small state dict with matrices, a vector, a scalar, half precision and a counter; close to `near` where that is given."""
    rng = generator("merge", seed)
    made = {
        "b.weight": torch.randn(6, 4, generator=rng),
        "a.weight": torch.randn(4, 4, generator=rng).bfloat16(),
        "norm.bias": torch.randn(4, generator=rng).double(),
        "logit_scale": torch.randn((), generator=rng),
        "steps": torch.tensor(seed),
        "empty": torch.zeros(0, 3),
    }
    if near is None:
        return made
    return {k: near[k] + (0.1 * v).to(v.dtype) if v.is_floating_point() else v for k, v in made.items()}


BASE = state(0)


def tuned(cls, n: int = 3) -> list[dict[str, torch.Tensor]]:
    most = getattr(cls, "most", None)
    return [state(i + 1, BASE) for i in range(n if most is None else min(n, most))]


def same(a, b) -> bool:
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@every_merger
def test_is_a_merger_with_few_settings(cls):
    assert isinstance(cls(), Merger)
    assert len(dataclasses.fields(cls)) <= 12


@every_merger
def test_names_shapes_and_dtypes_are_the_bases_and_inputs_are_untouched(cls):
    models = tuned(cls)
    copies = [{k: v.clone() for k, v in m.items()} for m in (BASE, *models)]
    made = merge_states(cls(), BASE, models)
    assert list(made) == list(BASE)
    assert all(made[k].dtype == v.dtype and made[k].shape == v.shape for k, v in BASE.items())
    assert all(torch.isfinite(v.double()).all() for v in made.values())
    assert all(same(a, b) for a, b in zip(copies, (BASE, *models)))
    assert same(merge_states(cls(), BASE, models), made)
    wide = [{k: v.double() if v.is_floating_point() else v for k, v in m.items()} for m in models]
    assert all(made[k].dtype == v.dtype for k, v in merge_states(cls(), BASE, wide).items())


@every_merger
def test_the_neutral_setting_is_the_base_and_copies_of_the_base_give_the_base(cls):
    models = tuned(cls)
    if cls.neutral is not None:
        assert same(merge_states(cls(**cls.neutral), BASE, models), BASE)
    again = merge_states(cls(), BASE, [BASE] * len(models))
    assert all(torch.allclose(again[k].double(), v.double(), atol=1e-2 if v.dtype == torch.bfloat16 else 1e-5) for k, v in BASE.items())


@every_merger
def test_the_order_of_models_does_not_matter_where_that_is_claimed(cls):
    models = tuned(cls)
    if not cls.symmetric or len(models) < 2:
        pytest.skip("claims no symmetry")
    made, turned = merge_states(cls(), BASE, models), merge_states(cls(), BASE, models[::-1])
    for k, v in made.items():
        torch.testing.assert_close(turned[k], v, rtol=1e-5, atol=1e-2 if v.dtype == torch.bfloat16 else 1e-5)


@every_merger
def test_files_give_what_memory_gives(cls, tmp_path):
    models = tuned(cls)
    paths = []
    for i, m in enumerate((BASE, *models)):
        paths.append(tmp_path / f"{i}.safetensors")
        save_file(m, paths[-1])
    out = merge_files(cls(), paths[0], paths[1:], tmp_path / "out.safetensors")
    made, expected = load_file(out), merge_states(cls(), BASE, models)
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[k], v) and made[k].dtype == v.dtype for k, v in expected.items())


def test_there_are_mergers():
    assert {p.id for p in MERGERS} >= {"merge/interpolate"}
