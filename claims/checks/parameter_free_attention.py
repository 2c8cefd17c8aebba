"""CALIP: class texts find the patches that show the object."""

from __future__ import annotations

import torch

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.parameter_free_attention import ParameterFreeAttention
from pairwright.ledger.check import Check

CHECK = Check(
    id="parameter_free_attention",
    card="heads/zero_shot/parameter_free_attention",
    claim="Where the object fills few patches of a cluttered picture, letting patches and class texts attend to each other beats zero-shot",
    plant="the object is in 4 of 16 patches, each of the others shows something else; the global feature is the mean of all",
    baseline="zero-shot on the global feature; both weights chosen on 10 val rows a class",
    control="the object fills all patches",
    margin=0.05,
    control_margin=0.005,
)


def pictures(sim, split: str, per_class: int, seed: int, planted: bool) -> Features:
    rng = generator(split, seed)
    y = torch.arange(len(sim.text)).repeat(per_class)
    N, M, D = len(y), 16, sim.means_CD.shape[1]
    draw = lambda *shape: torch.randn(*shape, D, generator=rng) / D**0.5
    tokens = sim.means_CD[y][:, None] + draw(N, 1) + 0.8 * draw(N, M)
    if planted:
        tokens[:, 4:] = draw(N, M - 4)
    tokens = unit(tokens)
    return Features.of(tokens.mean(1), y, tokens_NMD=tokens, encoder=sim.text.encoder)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, shots=1, test_per_class=1, text_noise=1.0)
    val, test = pictures(sim, "val", 10, seed, planted), pictures(sim, "test", 50, seed, planted)
    score = lambda head: accuracy(head.fit(None, sim.text, val=val).logits(test), test.y)
    most = (test.tokens_NMD @ sim.text.W_CD.T).amax(1)
    return {"ours": score(ParameterFreeAttention()), "baseline": score(ZeroShot()), "max_over_patches": accuracy(most, test.y)}
