"""CoOp against token rows spliced by hand, a training loop written with torch's own modules, and its limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.tokens import hand_text, prompt_ids

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}."
MODEL = tiny(1, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
Y = torch.tensor([0, 1, 2, 0, 1, 2, 1])
TRAIN = Features(unit(torch.randn(7, 16, generator=generator("coop rows"))), Y, encoder=MODEL.fingerprint)


def text_by_hand(context_ME: torch.Tensor, suffix: str = "") -> torch.Tensor:
    """One class at a time: [start] context [name] [end] as embeddings, through the blocks, pooled at the end token."""
    tower, words = MODEL.towers["text"], MODEL.tokenizer
    out = []
    for name in NAMES:
        table = tower.token_embedding.weight
        ends = table[[words.start_id]], table[[words.end_id]]
        x = torch.cat([ends[0], context_ME, table[words.ids(name + suffix)], ends[1]])
        x = x + tower.positional_embedding[: len(x)]
        x = tower.transformer(x[None], causal=True).x_BLE[0, -1]
        out.append(F.normalize(tower.ln_final(x) @ tower.text_projection, dim=0))
    return torch.stack(out)


def test_class_text_is_the_spliced_row():
    shared = CoOp(5, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    assert shared.context_.shape == (5, 16)
    torch.testing.assert_close(shared.text(MODEL, NAMES).W_CD, text_by_hand(shared.context_))
    own = CoOp(5, per_class=True, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    expected = torch.stack([text_by_hand(v)[c] for c, v in enumerate(own.context_)])
    torch.testing.assert_close(own.text(MODEL, NAMES).W_CD, expected)
    assert not torch.equal(own.context_[0], own.context_[1])


def test_zero_steps_from_the_template_are_the_hand_prompt_bit_for_bit():
    learner = CoOp(HAND, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    assert learner.context_.shape == (4, 16)
    hand = MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    assert torch.equal(learner.text(MODEL, NAMES).W_CD, hand)
    torch.testing.assert_close(hand, text_by_hand(learner.context_, suffix="."))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_is_the_loop_written_out(optimizer):
    how = Descent(lr=0.05, epochs=3, batch=4, optimizer=optimizer, first_lr=0.01)
    learner = CoOp(2, seed=3, how=how).fit(MODEL, NAMES, TRAIN)
    v = torch.nn.Parameter(0.02 * torch.randn(2, 16, generator=generator("context", 3)))
    if optimizer == "sgd":
        descent = torch.optim.SGD([v], 0.05, momentum=0.9, weight_decay=5e-4)
    else:
        descent = torch.optim.AdamW([v], 0.05, weight_decay=5e-4)
    losses = []
    for epoch, rate in enumerate((0.01, 0.05 * (1 + math.cos(math.pi / 3)) / 2, 0.05 * (1 + math.cos(2 * math.pi / 3)) / 2)):
        order = torch.randperm(7, generator=generator("prompts", 3, epoch, 7))
        for rows in (order[:4], order[4:]):
            descent.param_groups[0]["lr"] = rate
            loss = F.cross_entropy(MODEL.logit_scale.exp() * TRAIN.z[rows] @ text_by_hand(v).T, Y[rows])
            descent.zero_grad()
            loss.backward()
            descent.step()
            losses.append(loss.detach())
    torch.testing.assert_close(learner.losses_, torch.stack(losses), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(learner.context_, v.detach(), rtol=1e-3, atol=1e-4)


def test_epochs_follow_the_papers_table_and_the_ceiling():
    how = Descent(most_steps=1000)
    assert [len(how.rates(32, shots)) for shots in (1, 2, 4, 8, 16)] == [50, 100, 100, 200, 200]
    assert len(how.rates(320, 16)) == 100  # ten steps an epoch
    assert len(how.rates(100_000, 16)) == 1
    assert how.rates(0, 1) == []


def test_tokens_of_one_class_leave_the_others_alone():
    learner = CoOp(2, per_class=True, how=Descent(lr=0.05, epochs=1, batch=99, decay=0.0)).fit(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="belong to the 3 classes"):
        learner.text(MODEL, ["moon"])


def test_its_text_feeds_heads():
    text = CoOp(2, how=Descent(epochs=1)).fit(MODEL, NAMES, TRAIN).text(MODEL, NAMES)
    assert text.names == tuple(NAMES)
    assert text.scale == pytest.approx(float(MODEL.scale))
    expected = MODEL.scale * TRAIN.z @ text.W_CD.T
    torch.testing.assert_close(ZeroShot().fit(None, text).logits(TRAIN), expected)


def test_places_for_tokens_do_not_depend_on_the_tokenizer():
    model = tiny(0, tokenizer="byte", width=16, context=32)
    ids, M = prompt_ids(model, NAMES, 4)
    plain = model.tokenizer(NAMES)
    assert M == 4
    assert ids.shape == plain.shape
    assert torch.equal(ids[:, 5:], plain[:, 1:-4])
    ids, M = prompt_ids(model, NAMES, "photo of {}!")
    assert len("photo of") == M
    assert torch.equal(ids, model.tokenizer([f"photo of {n}!" for n in NAMES]))


def test_hand_text_of_several_templates_is_their_unit_mean():
    rows = [MODEL.text(MODEL.tokenizer([t.format(n) for n in NAMES])).z_BD for t in ("a {}", "the {}")]
    torch.testing.assert_close(hand_text(MODEL, NAMES, ["a {}", "the {}"]), F.normalize(rows[0] + rows[1], dim=1))
