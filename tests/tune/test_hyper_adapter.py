"""HyperAdapter against every adapter written out by loops, the count by hand, and its limits: the frozen model and an ordinary adapter."""

from __future__ import annotations

import copy

import pytest
import torch

from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.tune.weights.hyper_adapter import HyperAdapter

TASKS = ("shape", "colour", "count")
X = torch.rand(4, 3, 16, 16, generator=generator("hyper images"))
IDS = torch.randint(3, 60, (4, 8), generator=generator("hyper ids"))
IDS[torch.arange(4), torch.tensor([3, 7, 5, 7])] = 63


def twin():
    return tiny(1, image="vit", size=16, width=32, dim=16, layers=2, patch=8, vocab=64, context=8)


def attached(**how):
    model, hyper = twin(), HyperAdapter(**{"tasks": TASKS, "reduction": 8, "embedding": 6, "hidden": 10, **how})
    hyper.attach(model)
    with torch.no_grad():
        for name, p in hyper.moving_.items():
            p.copy_(torch.randn(p.shape, generator=generator("hyper", name)) / 2)
    return model, hyper


def written(model, task: int, layer: int, width: int = 32, narrow: int = 4):
    """The two matrices of one adapter, one number at a time."""
    p = {n.removeprefix("hyper."): v.detach().double() for n, v in model.named_parameters() if n.startswith("hyper.")}
    code = torch.cat([p["task_TK"][task], p["layer_LK"][layer]])
    for at in ("mixed.0", "mixed.2"):
        code = torch.stack([row @ code for row in p[f"{at}.weight"]]) + p[f"{at}.bias"]
        code = code.clamp(min=0) if at == "mixed.0" else code
    code = (code - code.mean()) / (code.var(correction=0) + 1e-5).sqrt()
    number = lambda side, i: p[f"{side}.{width}.weight"][i] @ code + p[f"{side}.{width}.bias"][i]
    down = torch.stack([torch.stack([number("down", r * width + e) for e in range(width)]) for r in range(narrow)])
    up = torch.stack([torch.stack([number("up", e * narrow + r) for r in range(narrow)]) for e in range(width)])
    return down.float(), up.float()


@torch.no_grad()
def by_hand(model, adapters):
    """Both towers of a plain model with given adapters after their blocks: (tower, layer) -> (W_down, W_up)."""
    found = []
    for name, x in (("image", X), ("text", IDS)):

        def mix(x_BLE, layer, name=name):
            down, up = adapters[name, layer]
            return torch.stack([torch.stack([v + up @ (down @ v).clamp(min=0) for v in row]) for row in x_BLE])

        found.append(model.encode(name, x, mix=mix).z_BD)
    return torch.cat(found)


@torch.no_grad()
def outputs(model):
    return torch.cat([model.image(X).z_BD, model.text(IDS).z_BD])


def test_every_adapter_of_every_task_is_the_one_written_by_hand():
    model, hyper = attached()
    seen = []
    for t, task in enumerate(TASKS):
        hyper.use(task)
        adapters = {(name, i): written(model, t, 2 * k + i) for k, name in enumerate(("image", "text")) for i in range(2)}
        seen.append(outputs(model))
        torch.testing.assert_close(seen[-1], by_hand(twin(), adapters), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(seen[0], seen[1], atol=1e-2)


def test_the_count_is_that_of_the_formula():
    model, hyper = attached()
    assert hyper.count == (3 + 4) * 6 + (12 * 10 + 10) + (10 * 6 + 6) + 2 * (6 * 4 * 32 + 4 * 32)
    one_more = attached(tasks=(*TASKS, "size"))[1]
    assert one_more.count - hyper.count == 6
    assert not any(p.requires_grad for n, p in model.named_parameters() if n not in hyper.moving_)


def test_towers_of_two_widths_have_a_last_layer_each():
    model, hyper = twin(), HyperAdapter(TASKS, reduction=8, embedding=6, hidden=10)
    model.towers["text"] = tiny(1, image="vit", size=16, width=16, dim=16, layers=3, patch=8, vocab=64, context=8).towers["text"]
    hyper.attach(model)
    assert hyper.count == (3 + 5) * 6 + 130 + 66 + 2 * 7 * 4 * 32 + 2 * 7 * 2 * 16


def test_a_generator_that_writes_nothing_leaves_the_frozen_model():
    model, hyper = attached()
    with torch.no_grad():
        for p in model.hyper.up.parameters():
            p.zero_()
    for task in TASKS:
        hyper.use(task)
        assert torch.equal(outputs(model), outputs(twin()))


def test_a_constant_generator_is_one_ordinary_adapter_for_all_tasks():
    model, hyper = attached()
    with torch.no_grad():
        for layers in (model.hyper.down, model.hyper.up):
            layers["32"].weight.zero_()
        down, up = model.hyper.down["32"].bias.view(4, 32), model.hyper.up["32"].bias.view(32, 4)
    ordinary = by_hand(twin(), {(name, i): (down, up) for name in ("image", "text") for i in range(2)})
    for task in TASKS:
        hyper.use(task)
        torch.testing.assert_close(outputs(model), ordinary, rtol=1e-3, atol=1e-4)


def test_with_one_task_any_two_layers_are_reached():
    """One task and L layers: the generator's codes differ by layer, so two layers may get any two adapters, as ordinary ones do."""
    model, _ = attached(tasks=("only",), towers=("image",))
    net, wanted = model.hyper, torch.randn(2, 4 * 32, generator=generator("wanted"))
    with torch.no_grad():
        codes_LK = torch.stack([net.mixed(torch.cat([net.task_TK[0], net.layer_LK[i]])) for i in range(2)])
        net.down["32"].bias.zero_()
        net.down["32"].weight.copy_(torch.linalg.lstsq(codes_LK, wanted).solution.T)
    for i in range(2):
        torch.testing.assert_close(net(i, 32)[0], wanted[i].view(4, 32), rtol=1e-3, atol=1e-4)


def test_the_steps_go_round_the_tasks_and_the_choice_is_in_the_fingerprint():
    model, hyper = attached()
    chosen, prints = [], set()
    for step in range(5):
        chosen.append(TASKS[int(model.hyper.task)])
        prints.add(model.fingerprint)
        model.image(X).z_BD.sum().backward()
        moved = model.hyper.task_TK.grad.abs().sum(1).nonzero().squeeze(1).tolist()
        assert moved == [step % 3]
        model.zero_grad()
        hyper.after_step(model, step)
    assert chosen == ["shape", "colour", "count", "shape", "colour"]
    assert len(prints) == 3


def test_a_copy_of_the_model_has_its_own_generator_and_folding_keeps_the_choice():
    model, hyper = attached()
    other = copy.deepcopy(model)
    before = outputs(model)
    with torch.no_grad():
        other.hyper.up["32"].weight.zero_()
    assert torch.equal(outputs(model), before)
    assert not torch.equal(outputs(other), before)
    hyper.fold(model)
    assert torch.equal(outputs(model), before)
    hyper.use("count")
    assert not torch.equal(outputs(model), before)
    with pytest.raises(ValueError, match="has a HyperAdapter already"):
        HyperAdapter().attach(model)


def test_bad_settings_are_refused_with_the_fix():
    with pytest.raises(ValueError, match="each once; got a, a"):
        HyperAdapter(("a", "a"))
    with pytest.raises(ValueError, match="name one or more tasks"):
        HyperAdapter(())
    with pytest.raises(ValueError, match="at least 1"):
        HyperAdapter(reduction=0)
    with pytest.raises(ValueError, match="not attached"):
        HyperAdapter().use("task")
    with pytest.raises(ValueError, match="the tasks are shape, colour, count"):
        attached()[1].use("size")
