"""DPL against attention as loops over queries and keys, the exact split of one softmax, and the limits of no share and no split."""

from __future__ import annotations

import math

import pytest
import torch

from pairwright.core.numerics import generator
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.dpl import DPL, decoupled
from pairwright.prompts.fit import Descent
from tests.prompts.test_deep_prefix import BOTH, HAND, MODEL, NAMES, TRAIN

HOW = Descent(lr=0.05, epochs=2, batch=4)
Q, K, V = torch.randn(3, 2, 2, 7, 4, generator=generator("decoupled"), dtype=torch.float64)
PROMPT = torch.tensor([False, True, True, False, False, False, True])


def by_loops(b: int, h: int, i: int, share: float, causal: bool = False) -> list[float]:
    """One query's output: two softmaxes over lists of keys."""

    def read(keys):
        e = [math.exp(sum(float(x) * float(y) for x, y in zip(Q[b, h, i], K[b, h, j])) / 2) for j in keys]
        return [sum(w * float(V[b, h, j, n]) for w, j in zip(e, keys)) / sum(e) for n in range(4)]

    own = read([j for j in range(7) if not PROMPT[j] and (j <= i or not causal)])
    if PROMPT[i]:
        return own
    return [(1 - share) * a + share * p for a, p in zip(own, read([j for j in range(7) if PROMPT[j]]))]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_two_softmaxes(causal):
    seen = torch.ones(7, 7, dtype=torch.bool).tril() if causal else None
    out = decoupled(Q, K, V, PROMPT, 0.3, seen)
    expected = [[[by_loops(b, h, i, 0.3, causal) for i in range(7)] for h in range(2)] for b in range(2)]
    torch.testing.assert_close(out, torch.tensor(expected, dtype=torch.float64))


def test_with_the_share_of_one_softmax_it_is_one_softmax():
    weights = (Q @ K.mT / 2).softmax(-1)
    exact = weights[..., PROMPT].sum(-1, keepdim=True)
    torch.testing.assert_close(decoupled(Q, K, V, PROMPT, exact)[:, :, ~PROMPT], (weights @ V)[:, :, ~PROMPT])


def test_towers_with_decoupled_tokens_are_those_run_block_by_block():
    learner = DPL(3, length=2, layers=2, share=0.2, how=HOW).fit(MODEL, NAMES, TRAIN)
    tower = MODEL.towers["text"]
    ids = learner.ids(MODEL, NAMES)
    rows = []
    for row in ids:
        x = tower.token_embedding(row[: int(row.argmax()) + 1]).clone()
        x[1:4] = learner.context_
        x = (x + tower.positional_embedding[: len(x)])[None]
        prompt = torch.zeros(x.shape[1], dtype=torch.bool)
        prompt[1:4] = True
        for j, block in enumerate(tower.transformer.resblocks):
            if j == 1:
                x = torch.cat([x[:, :1], learner.text_[0][None], x[:, 4:]], 1)
            if j == 0:
                x = block(x, causal=True)
                continue
            q, k, v = block.attn.split(block.ln_1(x))
            scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1).bool(), float("-inf"))
            own = scores.masked_fill(prompt, float("-inf")).softmax(-1) @ v
            own[:, :, 4:] = 0.8 * own[:, :, 4:] + 0.2 * scores[:, :, 4:, 1:4].softmax(-1) @ v[:, :, 1:4]
            x = x + block.attn.join(own)
            x = x + block.mlp(block.ln_2(x))
        rows.append(tower.ln_final(x[0, -1]) @ tower.text_projection)
    torch.testing.assert_close(learner.text(MODEL, NAMES).W_CD, torch.nn.functional.normalize(torch.stack(rows).detach(), dim=1))


def test_no_share_leaves_the_image_tower_as_it_is():
    still = DPL(HAND, towers=("image",), share=0.0, how=HOW).fit(MODEL, NAMES, TRAIN)
    torch.testing.assert_close(still.image_features(MODEL, TRAIN).z, MODEL.image(TRAIN.x).z_BD)
    more = DPL(HAND, towers=("image",), share=0.5, how=HOW).fit(MODEL, NAMES, TRAIN)
    assert (more.image_features(MODEL, TRAIN).z - MODEL.image(TRAIN.x).z_BD).abs().max() > 1e-2


def test_one_softmax_is_deep_prefix():
    joint, plain = (
        DPL(HAND, share=None, how=HOW).fit(MODEL, NAMES, TRAIN),
        DeepPrefix(HAND, BOTH, layers=9, how=HOW).fit(MODEL, NAMES, TRAIN),
    )
    for name in ("context_", "text_", "image_"):
        assert torch.equal(getattr(joint, name), getattr(plain, name))


def test_a_share_outside_of_its_range_is_refused():
    for wrong in (1.0, -0.1):
        with pytest.raises(ValueError, match="share of attention"):
            DPL(HAND, share=wrong).fit(MODEL, NAMES, TRAIN)
