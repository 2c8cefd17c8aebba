"""The shared fine-tuning function: its loss against torch's, its batches, and what moves."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy

from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import generator, unit
from pairwright.core.rows import row_loss
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.models.tiny import tiny
from pairwright.recipes._fine_tune import Classify, How, Rows, class_ids, fine_tune, image_tower
from pairwright.tune.weights.select_params import SelectParams

NAMES = ["red circle", "blue square", "star"]
X = torch.rand(9, 3, 16, 16, generator=generator("fine tune"))
Y = torch.arange(9) % 3


def twin():
    return tiny(1, image="vit", size=16, width=32, dim=16, layers=1, patch=8, vocab=256, context=12)


def rows(*key, n: int = 5, d: int = 4):
    return unit(torch.randn(n, d, generator=generator("rows", *key)))


def test_loss_is_cross_entropy_to_class_text_or_to_a_head():
    z, text, y = rows("z"), rows("text", n=3), torch.tensor([2, 0, 1, 1, 2])
    views = Views({"image": Encoded(z), "text": Encoded(text)}, group_B=y)
    expected = sum(-float((7.0 * z[i] @ text.T).log_softmax(0)[y[i]]) for i in range(5)) / 5
    assert float(Classify(7.0)(views)) == pytest.approx(expected, rel=1e-5)
    W, b = torch.randn(3, 4, generator=generator("W")), torch.randn(3, generator=generator("b"))
    head = Classify(head=(W, b))
    assert head.needs == ("image",)
    torch.testing.assert_close(head(views).detach(), cross_entropy(z @ W.T + b, y))


def test_flyp_with_one_row_a_class_is_cross_entropy_to_the_class_text():
    """One direction of the contrastive loss on a batch that holds each class once."""
    z, text = rows("z", n=3), rows("text", n=3)
    views = Views({"image": Encoded(z), "text": Encoded(text)}, group_B=torch.arange(3))

    class OneWay(InfoNCE):
        directions = "one"

    contrast = row_loss(OneWay(), views, lambda q, k: 9.0 * q.z_BD @ k.z_BD.T)
    torch.testing.assert_close(contrast, Classify(9.0)(views))


def test_batches_are_permutations_of_an_epoch_and_follow_from_their_step():
    source = Rows(torch.arange(10.0)[:, None], torch.arange(10), batch=4, seed=3)
    take = lambda start, n: [b.group_B.tolist() for b in itertools.islice(source.batches(start), n)]
    first = take(0, 5)
    assert take(2, 3) == first[2:]
    for epoch in (first[:2], first[2:4]):  # 8 of 10 rows, none twice
        assert len(set(itertools.chain(*epoch))) == 8
    assert first[:2] != first[2:4]
    assert all(b.inputs["image"][:, 0].tolist() == b.group_B.tolist() for b in itertools.islice(source.batches(0), 3))
    assert Rows(torch.zeros(3, 1), torch.zeros(3), batch=32).batch_size == 3
    with pytest.raises(ValueError, match="one label each"):
        Rows(torch.zeros(3, 1), torch.zeros(2))


def test_it_learns_the_labels_with_class_text_and_with_a_head():
    for head in (None, (torch.zeros(3, 16), torch.zeros(3))):
        model, before = twin(), twin().state_dict()
        objective = Classify(20.0, head)
        ids = class_ids(model, NAMES)
        fine_tune(model, Rows(X, Y, None if head else ids, batch=9), objective, How(60, 3e-3, precise="fp32"), trainable=image_tower)
        with torch.no_grad():
            z = model.image(X).z_BD
            logits = objective.logits(z, None if head else model.text(ids).z_BD)
        assert logits.argmax(1).tolist() == Y.tolist()
        changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
        assert changed
        assert all(n.startswith("towers.image.") for n in changed)
        assert not model.training


def test_no_steps_and_modifiers():
    model, before = twin(), twin().state_dict()
    fine_tune(model, Rows(X, Y, class_ids(model, NAMES)), Classify(20.0), How(0))
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    fine_tune(model, Rows(X, Y, class_ids(model, NAMES)), Classify(20.0), How(2, 1e-2, precise="fp32"), modifiers=[SelectParams("norm")])
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert all(".ln_" in n for n in changed)
    model.tokenizer = None
    with pytest.raises(ValueError, match="no tokenizer"):
        class_ids(model, NAMES)
