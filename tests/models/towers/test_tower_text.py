"""The text transformer against a slow derivation in numpy, and each extension point against its meaning."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pairwright.models.towers.block import Rewrite
from pairwright.models.towers.text import TextTransformer

SMALL = {"vocab": 50, "context": 12, "width": 16, "layers": 3, "heads": 4, "dim": 8}


def make(seed: int = 0, **more) -> TextTransformer:
    torch.manual_seed(seed)
    tower = TextTransformer(**{**SMALL, **more}).eval()
    with torch.no_grad():
        for p in tower.parameters():  # biases and gains too, so that a forgotten one shows
            p.add_(torch.randn_like(p) * 0.1)
    return tower


def texts(*lengths: int, end: int = 49, width: int = 12) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    for i, n in enumerate(lengths):
        ids[i, :n] = torch.randint(1, 48, (n,), generator=g)
        ids[i, n - 1] = end
    return ids


def slow_text(tower: TextTransformer, ids: list[int], *, allowed, pool_at) -> np.ndarray:
    """One text, token by token and head by head, in float64."""
    w = {k: v.detach().double().numpy() for k, v in tower.state_dict().items()}

    def ln(x: np.ndarray, name: str) -> np.ndarray:
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = [w["token_embedding.weight"][t] + w["positional_embedding"][i] for i, t in enumerate(ids)]
    heads, E = 4, 16
    d = E // heads
    for layer in range(3):
        p = f"transformer.resblocks.{layer}."
        qkv = [w[p + "attn.in_proj_weight"] @ ln(t, p + "ln_1") + w[p + "attn.in_proj_bias"] for t in x]
        new = []
        for i in range(len(x)):
            out = np.zeros(E)
            for h in range(heads):
                cut = slice(h * d, (h + 1) * d)
                js = [j for j in range(len(x)) if allowed(i, j)]
                scores = np.array([qkv[i][:E][cut] @ qkv[j][E : 2 * E][cut] / math.sqrt(d) for j in js])
                a = np.exp(scores - scores.max())
                a /= a.sum()
                out[cut] = sum(a_j * qkv[j][2 * E :][cut] for a_j, j in zip(a, js))
            y = x[i] + w[p + "attn.out_proj.weight"] @ out + w[p + "attn.out_proj.bias"]
            hidden = w[p + "mlp.c_fc.weight"] @ ln(y, p + "ln_2") + w[p + "mlp.c_fc.bias"]
            hidden = np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in hidden])
            new.append(y + w[p + "mlp.c_proj.weight"] @ hidden + w[p + "mlp.c_proj.bias"])
        x = new
    final = [ln(t, "ln_final") for t in x]
    pooled = np.mean([final[i] for i in pool_at], axis=0)
    out = pooled @ w["text_projection"]
    return out / np.linalg.norm(out)


@pytest.mark.parametrize("pool", ["argmax", "eos", "last", "first", "mean"])
@pytest.mark.parametrize("causal", [True, False])
def test_equals_a_slow_loop_over_tokens_and_heads(pool: str, causal: bool) -> None:
    pad_mask = not causal
    tower = make(pool=pool, causal=causal, pad_mask=pad_mask, eos_id=49)
    ids = texts(5, 9, 12)
    z = tower(ids).z_BD
    for row, n in enumerate((5, 9, 12)):
        seen = lambda i, j, n=n: (j <= i if causal else True) and (j < n if pad_mask else True)
        at = {"argmax": [n - 1], "eos": [n - 1], "last": [n - 1 if pad_mask else 11], "first": [0]}.get(pool, range(n if pad_mask else 12))
        want = slow_text(tower, ids[row].tolist(), allowed=seen, pool_at=at)
        np.testing.assert_allclose(z[row].detach().numpy(), want, atol=2e-6)


def test_causal_tower_runs_only_on_the_tokens_that_are_there() -> None:
    tower = make()
    seen = []
    tower.transformer.resblocks[0].register_forward_hook(lambda m, args, out: seen.append(out.shape[1]))
    long, short = texts(12, 5), texts(4, 5)
    alone = tower(long[1:]).z_BD
    together = tower(long).z_BD[1:]
    tower(short)
    assert seen == [5, 12, 5]
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)


def test_bidirectional_tower_without_mask_sees_its_padding() -> None:
    tower = make(causal=False, pool="last")
    ids = texts(5)
    assert (tower(ids).z_BD - tower(ids[:, :6]).z_BD).abs().max() > 1e-3


def test_from_embeddings_equals_ids() -> None:
    tower = make()
    ids = texts(5, 9)
    there = tower.from_embeddings(tower.embed_tokens(ids), tower.eot(ids))
    torch.testing.assert_close(there.z_BD, tower(ids).z_BD, atol=1e-7, rtol=0)


def test_word_tokens_are_in_the_joint_space_and_the_last_one_is_the_text() -> None:
    tower = make()
    ids = texts(5, 9)
    e = tower(ids, tokens=True)
    assert e.tokens_BMD.shape == (2, 9, 8)
    assert e.mask_BM.sum(1).tolist() == [5, 9]
    torch.testing.assert_close(F.normalize(e.tokens_BMD[[0, 1], [4, 8]], dim=-1), e.z_BD)


def test_taps_equal_a_forward_hook_and_the_attention_is_a_distribution_over_the_past() -> None:
    tower = make()
    ids = texts(5, 9)
    hooked = {}
    for i, block in enumerate(tower.transformer.resblocks):
        block.register_forward_hook(lambda m, a, out, i=i: hooked.__setitem__(i, out))
    e = tower(ids, taps=("0", "-1", "attn@1", "v@1", "heads@1", "out@1", "mlp@1"))
    assert set(e.taps) == {"0", "-1", "attn@1", "v@1", "heads@1", "out@1", "mlp@1"}
    torch.testing.assert_close(e.taps["0"], hooked[0])
    torch.testing.assert_close(e.taps["-1"], hooked[2])
    torch.testing.assert_close(e.taps["attn@1"].sum(-1), torch.ones(2, 4, 9))
    assert e.taps["attn@1"].triu(1).abs().max() == 0
    torch.testing.assert_close(e.taps["attn@1"] @ e.taps["v@1"], e.taps["heads@1"], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(hooked[0] + e.taps["out@1"] + e.taps["mlp@1"], hooked[1])
    assert not tower(ids).taps


@pytest.mark.parametrize("name", ["3", "-4", "attn", "attn@7", "colour@1", "x"])
def test_unknown_taps_are_named(name: str) -> None:
    with pytest.raises(ValueError, match="unknown tap"):
        make()(texts(5), taps=(name,))


def test_empty_deep_prompts_change_nothing() -> None:
    tower, ids = make(), texts(5, 9)
    for deep in ([], [None, None, None], [torch.zeros(0, 16)] * 3):
        assert torch.equal(tower.from_embeddings(tower.embed_tokens(ids), tower.eot(ids), deep=deep).z_BD, tower(ids).z_BD)


def test_deep_prompts_stand_in_for_the_tokens_behind_the_first() -> None:
    tower, ids = make(), texts(6, 9)
    deep = [torch.randn(2, 16), None, torch.randn(2, 16)]
    inputs = []
    for block in tower.transformer.resblocks:
        block.register_forward_pre_hook(lambda m, args: inputs.append(args[0].clone()))
    tower(ids, deep=deep)
    with_prompts, inputs[:] = list(inputs), []
    tower(ids)
    for row in (0, 1):
        torch.testing.assert_close(with_prompts[0][row, 1:3], deep[0])
        torch.testing.assert_close(with_prompts[2][row, 1:3], deep[2])
    torch.testing.assert_close(with_prompts[0][:, 3:], inputs[0][:, 3:])
    assert (with_prompts[1][:, 1:3] - inputs[1][:, 1:3]).abs().max() > 1e-3  # what block 0 made of them flows on
    with pytest.raises(ValueError, match="do not fit"):
        tower(texts(3), deep=[torch.zeros(5, 16)])


def test_deep_prompts_may_differ_per_row() -> None:
    tower, ids = make(), texts(6, 9)
    deep = torch.randn(2, 2, 16)
    both = tower(ids, deep=[deep]).z_BD
    each = torch.cat([tower(ids[i : i + 1], deep=[deep[i]]).z_BD for i in range(2)])
    torch.testing.assert_close(both, each, atol=1e-6, rtol=0)


def test_mix_identity_is_the_plain_tower_and_dropping_unseen_tokens_is_too() -> None:
    tower, ids = make(), texts(5, 9)
    plain = tower(ids, tokens=True).z_BD  # every token, as where a hook may look at each
    assert torch.equal(tower(ids, mix=lambda x, layer: x).z_BD, plain)

    def drop_nothing(x: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        keep = torch.arange(x.shape[1]).expand(x.shape[0], -1)
        return x, keep

    assert torch.equal(tower(ids, mix=drop_nothing).z_BD, plain)


def test_mix_that_drops_a_token_equals_attention_that_never_sees_it() -> None:
    tower, ids = make(), texts(9)

    def drop_third(x: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor] | torch.Tensor:
        if layer != 0:
            return x
        keep = torch.tensor([[0, 1, 3, 4, 5, 6, 7, 8]])
        return x[:, keep[0]], keep

    def blind(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: None, layer: int) -> torch.Tensor:
        allowed = torch.ones(9, 9, dtype=torch.bool).tril()
        allowed[:, 2] = allowed[2, 2] & (torch.arange(9) == 2)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)

    e = tower(ids, mix=drop_third, tokens=True)
    assert e.aux["kept_BM"].tolist() == [[0, 1, 3, 4, 5, 6, 7, 8]]
    assert e.tokens_BMD.shape[1] == 8
    torch.testing.assert_close(e.z_BD, tower(ids, attend=Rewrite(blind, layers=(1, 2))).z_BD, atol=1e-6, rtol=0)


def test_mix_errors_say_what_is_wrong() -> None:
    tower, ids = make(), texts(9)
    with pytest.raises(ValueError, match="kept ids"):
        tower(ids, mix=lambda x, layer: x[:, :4])
    with pytest.raises(ValueError, match="end-of-text"):
        tower(ids, mix=lambda x, layer: (x[:, :4], torch.arange(4)[None]))


def test_attend_that_computes_plain_attention_changes_nothing() -> None:
    tower, ids = make(), texts(5, 9)

    def plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: None, layer: int) -> torch.Tensor:
        scores = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
        return scores.masked_fill(torch.ones(q.shape[2], q.shape[2]).triu(1).bool(), -1e9).softmax(-1) @ v

    torch.testing.assert_close(tower(ids, attend=plain).z_BD, tower(ids).z_BD, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("bad", "match"),
    [({"pool": "max"}, "unknown pooling"), ({"pool": "eos"}, "eos_id"), ({"act": "relu6"}, "unknown activation"), ({"heads": 5}, "heads")],
)
def test_bad_arguments(bad: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        TextTransformer(**{**SMALL, **bad})


def test_too_long_texts_are_refused_with_the_limit() -> None:
    with pytest.raises(ValueError, match="holds 12"):
        make()(texts(13, width=13))
