"""UniPT against a slow loop over rows, tokens and layers; nothing of the backbone is kept for the backward pass."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.tune.weights.lora import LoRA
from pairwright.tune.weights.parallel_side import ParallelSide, SideNetwork

IDS = torch.randint(3, 60, (4, 8), generator=generator("side ids"))
IDS[torch.arange(4), torch.tensor([3, 7, 5, 7])] = 63
X = torch.rand(4, 3, 16, 16, generator=generator("side"))


def twin(layers: int = 3):
    return tiny(1, image="vit", size=16, width=32, dim=16, layers=layers, patch=8, vocab=64, context=8)


def randomise(net) -> None:
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(torch.randn(p.shape, generator=generator("side", i)) / 3)


def by_hand(net: SideNetwork, layers, real, at):
    """One row: layers of (L, E) -> the corrected last (L, E), by loops."""
    lin = lambda m, v: m.weight @ v + (0 if m.bias is None else m.bias)
    L, a = len(real), [lin(net.last, v.clamp(min=0)) for v in layers[-1]]
    speaks = lambda rows: sum(rows[j] for j in range(L) if real[j]) / int(real.sum()) if at is None else rows[at]
    met, trust = [], []
    for down, h in zip(net.down, layers):
        t = [lin(down, v.clamp(min=0)) for v in h]
        rows = []
        for i in range(L):
            near = [max(float(a[i] @ t[j]), 0.0) * float(real[j]) for j in range(L)]
            rows.append(sum(n * t[j] for j, n in enumerate(near)) / max(sum(near), 1e-6) + speaks(t))
        met.append(rows)
        mean = sum(t[j] for j in range(L) if real[j]) / int(real.sum())
        trust.append(float(lin(net.gate, speaks(a) * mean)))
    g = torch.tensor(trust).softmax(0)
    return torch.stack([layers[-1][i] + lin(net.up, sum(w * m[i] for w, m in zip(g, met)).clamp(min=0)) for i in range(L)])


@pytest.mark.parametrize("pooled", [True, False])
def test_the_network_is_the_slow_loop(pooled):
    net = SideNetwork(3, 6, 4)
    randomise(net)
    h = torch.randn(3, 2, 5, 6, generator=generator("layers"))
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    at = torch.tensor([4, 2]) if pooled else None
    with torch.no_grad():
        made = net(list(h), real, at)
        for b in range(2):
            torch.testing.assert_close(made[b], by_hand(net, h[:, b], real[b], None if at is None else int(at[b])), rtol=1e-4, atol=1e-5)


def test_the_tower_ends_with_the_corrected_tokens():
    model, side = twin(), ParallelSide()
    with torch.no_grad():
        image = model.image(X, taps=("0", "1", "2"))
        text = model.text(IDS, taps=("0", "1", "2"))
        side.attach(model)
        for tower, start, at in (("image", image, [0] * 4), ("text", text, [3, 7, 5, 7])):
            net = model.towers[tower].side
            randomise(net)
            layers = torch.stack([start.taps[str(i)] for i in range(3)])
            for b in range(4):
                real = torch.arange(layers.shape[2]) <= (at[b] if tower == "text" else 99)
                last = by_hand(net, layers[:, b], real, at[b])[at[b]]
                t = model.towers[tower]
                z = t.project((t.ln_post if tower == "image" else t.ln_final)(last))
                made = model.encode(tower, X if tower == "image" else IDS).z_BD[b]
                torch.testing.assert_close(made, z / z.norm(), rtol=1e-3, atol=1e-4)


def kept(model) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights not counted."""
    own = {p.data_ptr() for p in model.state_dict().values()}
    sizes: dict[int, int] = {}

    def note(t):
        if t.untyped_storage().data_ptr() not in own:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        out = model.image(X.repeat(8, 1, 1, 1)).z_BD
        assert out.requires_grad
    return sum(sizes.values())


def test_nothing_of_the_blocks_is_kept_for_the_backward_pass():
    memory = {}
    for tuner in (ParallelSide(reduction=4, towers=("image",)), LoRA(towers=("image",))):
        model = twin()
        tuner.attach(model)
        memory[type(tuner).__name__] = kept(model)
        model.image(X).z_BD.square().sum().backward()
        assert {n for n, p in model.named_parameters() if p.grad is not None} == set(tuner.moving_)
    assert memory["ParallelSide"] < 0.6 * memory["LoRA"]


def test_folding_leaves_it_in_place_and_a_second_one_is_refused():
    model, side = twin(), ParallelSide(towers=("text",))
    side.attach(model)
    randomise(model.towers["text"].side)
    before = model.text(IDS).z_BD.detach()
    side.fold(model)
    assert torch.equal(model.text(IDS).z_BD, before)
    with pytest.raises(ValueError, match="side network already"):
        ParallelSide().attach(model)
    with pytest.raises(ValueError, match="detach the side network"):
        model.text(IDS, mix=lambda x, layer: x)
    with pytest.raises(ValueError, match="reduction"):
        ParallelSide(reduction=0).attach(twin())
