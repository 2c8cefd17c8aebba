"""Running at another precision in torch: batch composition, padding, memory layout; and the CUDA graph where there is a GPU."""

from __future__ import annotations

import pytest
import torch

from pairwright.models.backend import eager, packed
from pairwright.models.tiny import tiny

X = torch.randn(9, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tower(kind: str = "vit"):
    return tiny(0, width=32, image=kind).towers["image"]


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["vit", "conv"])
def test_a_row_does_not_depend_on_its_batch(kind: str) -> None:
    plain = tower(kind)
    runs = [eager.runner(eager.converted(plain, torch.bfloat16), torch.bfloat16)]
    if packed.supported():
        runs.append(eager.runner(packed.pack(plain), torch.bfloat16, rows=4))
    for run in runs:
        whole = run(X)
        alone = torch.cat([run(x[None]) for x in X])
        assert (whole * alone).sum(-1).min() > 0.9995
        assert (whole * plain(X).z_BD).sum(-1).min() > 0.999
        assert whole.dtype == torch.float32


def test_padding_makes_every_call_whole_and_drops_what_was_added() -> None:
    shapes = []

    def run(x: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(x.shape))
        return x.flatten(1)[:, :4]

    torch.testing.assert_close(eager.padded(run, 4)(X), X.flatten(1)[:, :4])
    assert shapes == [(4, 3, 32, 32)] * 3


def test_convolutional_towers_run_channels_last_and_patch_cutters_do_not() -> None:
    assert eager.convolves(tower("conv"))
    assert not eager.convolves(tower("vit"))
    twin = eager.converted(tower("conv"), torch.bfloat16)
    assert twin.stages[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(p.requires_grad for p in twin.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_a_cuda_graph_gives_the_rows_of_the_tower() -> None:
    plain = tower().cuda()
    run = eager.graphed(plain, torch.float32, 4, (32, 32), torch.device("cuda"))
    torch.testing.assert_close(run(X.cuda()), plain(X.cuda()).z_BD, atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(not eager.compiler_present(torch.device("cpu")), reason="needs a C++ compiler")
@torch.inference_mode()
def test_the_compiled_tower_gives_the_rows_of_the_tower() -> None:
    plain = tower()
    run = eager.compiled(plain, torch.float32, 4)
    torch.testing.assert_close(run(X), plain(X).z_BD, atol=1e-4, rtol=0)
