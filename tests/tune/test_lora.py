"""LoRA against updates made by hand in numpy, in our towers and in torch's own attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pairwright.core.encoded import Encoded
from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.models.towers.wrapped import Wrapped
from pairwright.tune.weights.lora import LoRA
from pairwright.tune.weights.places import places

X = torch.randn(5, 3, 16, 16, generator=generator("lora images"))


def twin(layers: int = 2):
    return tiny(1, image="vit", size=16, width=32, dim=16, layers=layers, patch=8, vocab=64, context=8)


def moved(model, lora) -> dict[str, np.ndarray]:
    lora.attach(model)
    with torch.no_grad():
        for name, p in lora.moving_.items():
            p.copy_(torch.randn(p.shape, generator=generator(name)) / 4)
    return {n.removeprefix("towers.").replace("parametrizations.", ""): p.detach().numpy() for n, p in lora.moving_.items()}


def test_matrices_become_w_plus_gain_b_a():
    model, lora = twin(), LoRA(rank=3, alpha=2.0, parts=("q", "v", "fc"), towers=("image",))
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    made = moved(model, lora)
    assert lora.count == 2 * (2 * 3 * (32 + 32) + 3 * (32 + 128))
    lora.fold(model)
    changed = {k for k, v in model.state_dict().items() if not np.array_equal(v.numpy(), before[k])}
    assert changed == {f"towers.image.transformer.resblocks.{i}.{n}" for i in (0, 1) for n in ("attn.in_proj_weight", "mlp.c_fc.weight")}
    for name in changed:
        at = name.removeprefix("towers.")
        down, up = made[f"{at}.0.down_SRI"], made[f"{at}.0.up_SHR"]
        expected = before[name].copy()
        for block, start in enumerate((0, 64) if "in_proj" in name else (0,)):  # rows of keys, 32 … 63, stay
            for o in range(up.shape[1]):
                for i in range(down.shape[2]):
                    expected[start + o, i] += 2.0 / np.sqrt(3) * sum(up[block, o, r] * down[block, r, i] for r in range(3))
        np.testing.assert_allclose(model.state_dict()[name].numpy(), expected, atol=1e-5)


def test_the_gain_is_one_of_two():
    out = {}
    for scaled in ("sqrt", "rank"):
        model, lora = twin(), LoRA(rank=4, alpha=1.0, scaled=scaled, towers=("image",), parts=("o",))
        start = model.towers["image"].transformer.resblocks[0].attn.out_proj.weight.clone()
        moved(model, lora)
        lora.fold(model)
        out[scaled] = model.towers["image"].transformer.resblocks[0].attn.out_proj.weight - start
    torch.testing.assert_close(out["sqrt"], 2 * out["rank"], rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="sqrt"):
        LoRA(scaled="alpha")


def test_torchs_own_attention_is_adapted_and_folds():
    class Foreign(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x):
            return self.attn(x, x, x, need_weights=False)[0].mean(1)

    torch.manual_seed(0)
    model = twin()
    model.towers["image"] = Wrapped(Foreign(), 16)
    x = torch.randn(3, 4, 16)
    lora = LoRA(towers=("image",), parts=("k", "o"))
    made = moved(model, lora)
    expected = Foreign()
    expected.load_state_dict({k.replace("parametrizations.", "").replace(".original", ""): v for k, v in
                              model.towers["image"].module.state_dict().items() if ".0." not in k})  # fmt: skip
    with torch.no_grad():
        for name, rows in (("in_proj_weight", slice(16, 32)), ("out_proj.weight", slice(0, 16))):
            up, down = (torch.from_numpy(made[f"image.module.attn.{name}.0.{m}"][0]) for m in ("up_SHR", "down_SRI"))
            expected.get_parameter(f"attn.{name}")[rows] += 2**-0.5 * up @ down
        want = Encoded.of(expected(x)).z_BD
        torch.testing.assert_close(model.eval().image(x).z_BD, want)
        lora.fold(model)
        torch.testing.assert_close(model.image(x).z_BD, want)


def test_dropout_blanks_inputs_and_leaves_the_mean():
    model, lora = twin(1), LoRA(dropout=0.5, towers=("image",), parts=("q",))
    weight = lambda: model.towers["image"].transformer.resblocks[0].attn.in_proj_weight.detach()[:32]
    plain = weight().clone()
    moved(model, lora)
    model.eval()
    kept = weight() - plain
    model.train()
    torch.manual_seed(0)
    draws = torch.stack([weight() - plain for _ in range(400)])
    blank = (draws == 0).all(1).float().mean()
    assert 0.4 < float(blank) < 0.6  # whole inputs are gone
    assert float((draws.mean(0) - kept).abs().max()) < 0.2 * float(kept.abs().max())
    lora.fold(model)  # in training mode: without dropout all the same
    torch.testing.assert_close(weight(), plain + kept)


def test_starts_are_keyed_by_seed_and_name():
    starts = []
    for seed in (0, 0, 1):
        lora = LoRA(seed=seed)
        lora.attach(twin())
        starts.append({n: p for n, p in lora.moving_.items() if "down" in n})
    assert all(torch.equal(starts[0][n], starts[1][n]) and not torch.equal(starts[0][n], starts[2][n]) for n in starts[0])
    first, second = list(starts[0].values())[:2]
    assert not torch.equal(first, second)


def test_places_in_the_namings_in_circulation():
    model = twin()
    names = ("encoder.layers.0.self_attn.q_proj", "encoder.layer.0.attention.self.value", "encoder.layer.0.attention.output.dense",
             "encoder.layer.0.intermediate.dense", "encoder.layer.0.output.dense", "blocks.0.attn.qkv", "blocks.0.mlp.fc2")  # fmt: skip
    holder = nn.Module()
    for name in names:
        at = holder
        *path, last = name.split(".")
        for p in path:
            if not hasattr(at, p):
                at.add_module(p, nn.Module())
            at = getattr(at, p)
        at.add_module(last, nn.Linear(8, 24 if last == "qkv" else 8))
    holder.add_module("words", nn.Embedding(5, 8))
    model.towers["image"] = Wrapped(holder, 8)
    found = lambda *parts: {p.path.removeprefix("towers.image.module.").removesuffix(".weight"): p.starts for p in
                            places(model, ("image",), parts)}  # fmt: skip
    assert found("q") == {names[0]: (0,), names[5]: (0,)}
    assert found("v", "k") == {names[1]: (0,), names[5]: (8, 16)}
    assert found("o") == {names[2]: (0,)}
    assert found("fc", "proj") == {names[3]: (0,), names[4]: (0,), names[6]: (0,)}
    assert found("module.blocks.*") == {names[5]: (0,), names[6]: (0,)}
    assert "words" not in found("*")
    with pytest.raises(ValueError, match=r"no weights called head.*encoder.layers.0.self_attn.q_proj.weight"):
        found("head")


def test_two_methods_on_the_same_weights_are_refused_and_the_first_stays():
    model, first = twin(), LoRA()
    first.attach(model)
    flags = [p.requires_grad for p in model.parameters()]
    with pytest.raises(ValueError, match="fold or detach that one first"):
        LoRA(parts=("o",)).attach(model)
    assert [p.requires_grad for p in model.parameters()] == flags
    with pytest.raises(ValueError, match="rank of at least 1"):
        LoRA(rank=0)
