"""FM3's losses by loops, its order of batches, its limits, and that every task is answered with its own adapters and head."""

from __future__ import annotations

import itertools

import pytest
import torch

from pairwright.core.encoded import Encoded, Views
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.heads.linear.logistic import Logistic
from pairwright.models.tiny import tiny
from pairwright.recipes._fine_tune import Rows
from pairwright.recipes.fm3 import FM3, Heads, OverPairs, Paired, Task, Turns


def twin():
    return tiny(1, image="vit", size=8, width=16, dim=8, layers=1, patch=4, vocab=64, context=8)


def task(name: str, classes: int) -> Task:
    rng = generator("fm3", name)
    y_N = torch.arange(classes).repeat_interleave(4)
    return Task(torch.rand(len(y_N), 3, 8, 8, generator=rng) + y_N.view(-1, 1, 1, 1) / classes, y_N, [f"{name}{c}" for c in range(classes)])


TASKS = {"shape": task("shape", 3), "colour": task("colour", 2)}


def test_the_pair_loss_is_supcon_by_loops():
    rng = generator("supcon")
    image, text = (Encoded.of(torch.randn(5, 4, generator=rng, dtype=torch.float64)) for _ in range(2))
    group = [0, 1, 0, 2, 1]
    loss = OverPairs(3.0)(Views({"image": image, "text": text}, group_B=torch.tensor(group)))
    rows, labels, total = [*image.z_BD, *text.z_BD], group * 2, 0.0
    for i in range(10):
        others = [j for j in range(10) if j != i]
        norm = sum((3 * rows[i] @ rows[j]).exp() for j in others).log()
        mine = [j for j in others if labels[j] == labels[i]]
        total -= sum(3 * rows[i] @ rows[j] - norm for j in mine) / len(mine) / 10
    torch.testing.assert_close(loss, total)


def test_the_head_loss_sees_the_classes_of_its_own_task_only():
    rng = generator("heads")
    probes = []
    for classes in (3, 2):
        y = torch.arange(classes).repeat(4)
        probes.append(Logistic().fit(Features(torch.randn(len(y), 6, generator=rng), y)))
    heads, z = Heads(probes), Encoded.of(torch.randn(4, 6, generator=rng))
    for probe, start in zip(probes, heads.starts):
        y = torch.tensor([0, 1, 1, 0])
        expected = torch.nn.functional.cross_entropy(probe.logits(z.z_BD), y)
        torch.testing.assert_close(heads(Views({"image": z}, group_B=y + start)), expected)
    assert heads.starts == [0, 3]


def test_tasks_take_turns_and_a_resumed_source_goes_on_the_same():
    sources = [Paired(twin(), t, "a {}", 8, 0) for t in TASKS.values()]
    labels = [b.group_B.tolist() for b in itertools.islice(Turns(sources).batches(0), 11)]
    for k, source in enumerate(sources):
        assert labels[k::2] == [b.group_B.tolist() for b in itertools.islice(source.batches(0), len(labels[k::2]))]
    for start in (1, 4, 7):
        again = [b.group_B.tolist() for b in itertools.islice(Turns(sources).batches(start), 11 - start)]
        assert again == labels[start:]
    rows = Turns([Rows(t.x_N, t.y_N, batch=4) for t in TASKS.values()])
    assert rows.batch_size == 4
    first = next(sources[0].batches(0))
    ids = twin().tokenizer([f"a {n}" for n in TASKS["shape"].names])
    assert torch.equal(first.inputs["text"], ids[first.group_B])


def test_without_steps_it_is_a_linear_probe_a_task_on_the_frozen_model():
    model, fm3 = twin(), FM3(pair_steps=0, steps=0)
    fm3.fit(model, TASKS)
    for name, t in TASKS.items():
        with torch.no_grad():
            z_ND = twin().image(t.x_N).z_BD
        probe = Logistic().fit(Features(z_ND, t.y_N))
        torch.testing.assert_close(fm3.logits(model, name, t.x_N), probe.logits(z_ND), rtol=1e-4, atol=1e-4)


def test_what_moves_in_which_stage():
    changed = lambda model: {n.split(".")[0] for n, p in twin().named_parameters() if not torch.equal(p, model.get_parameter(n))}
    pairs, adapters = twin(), twin()
    FM3(pair_steps=2, pair_lr=1e-3, steps=0).fit(pairs, TASKS)
    fm3 = FM3(pair_steps=0, steps=3, lr=1e-3, reduction=2).fit(adapters, TASKS)
    assert changed(pairs) == {"towers"}
    assert changed(adapters) == set()
    x = TASKS["shape"].x_N
    seen = []
    for name in TASKS:
        fm3.logits(adapters, name, x)
        seen.append(adapters.image(x).z_BD.detach())
    assert not torch.equal(*seen)
    assert {name: len(head.bias_) for name, head in fm3.heads_.items()} == {"shape": 3, "colour": 2}
    again = twin()
    torch.testing.assert_close(FM3(pair_steps=0, steps=3, lr=1e-3, reduction=2).fit(again, TASKS).logits(again, "shape", x),
                               fm3.logits(adapters, "shape", x))  # fmt: skip


def test_bad_input_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="not fitted"):
        FM3().logits(twin(), "shape", TASKS["shape"].x_N)
    t = TASKS["shape"]
    with pytest.raises(ValueError, match="label from 0 to 1 each"):
        FM3().fit(twin(), {"a": Task(t.x_N, t.y_N, t.names[:2])})
    with pytest.raises(ValueError, match="needs rows"):
        FM3().fit(twin(), {"a": Task(t.x_N[:0], t.y_N[:0], t.names)})
