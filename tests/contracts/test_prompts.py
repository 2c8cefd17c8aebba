"""Laws of every prompt learner: see DESIGN, section 5. Encoders stay as they are, learning starts from the hand-written prompt."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch
from discover import mechanisms

from pairwright.core.contracts import PromptLearner
from pairwright.core.encoded import Encoded
from pairwright.core.features import EncoderMismatch, Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.models.towers.wrapped import Wrapped
from pairwright.prompts.fit import Descent

LEARNERS = [p for p in mechanisms("prompts") if hasattr(p.values[0], "class_text")]
NAMES = ["red circle", "blue square", "star", "small green heart"]
HAND = "a photo of a {}"
MODEL = tiny(0, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
every_learner = pytest.mark.parametrize("cls", LEARNERS)


def planted(model=MODEL, shots: int = 3) -> Features:
    """Rows around the classes' own text, turned by a common offset."""
    text_CD = model.text(model.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    y = torch.arange(len(NAMES)).repeat(shots)
    rng = generator("planted prompts")
    noise = torch.randn(len(y), text_CD.shape[1], generator=rng) / 8
    return Features.of(text_CD[y] + noise + unit(torch.randn(text_CD.shape[1], generator=rng)), y, encoder=model.fingerprint)


TRAIN = planted()


def make(cls, epochs: int = 2, context: int | str = HAND, **how):
    """A learner with short training; where it compares with a hand-written prompt, that is HAND."""
    more = {"template": HAND} if "template" in {f.name for f in dataclasses.fields(cls)} else {}
    return cls(context=context, how=Descent(**{"epochs": epochs, "batch": 4, "lr": 0.01, **how}), **more)


def text_of(learner, names=NAMES, model=MODEL, z=TRAIN.z):
    """(C, D), or (B, C, D) where class text depends on the image."""
    with torch.no_grad():
        return learner.class_text(model, learner.ids(model, names), Encoded(z))


@every_learner
def test_is_a_prompt_learner_with_few_settings(cls):
    assert isinstance(cls(), PromptLearner)
    assert len(dataclasses.fields(cls)) <= 12
    learner = make(cls)
    before = dataclasses.asdict(learner)
    with pytest.raises(ValueError, match="not fitted"):
        learner.ids(MODEL, NAMES)
    assert learner.fit(MODEL, NAMES, TRAIN) is learner
    assert dataclasses.asdict(learner) == before
    for name in ("image", "text"):
        assert all(t.ndim in (2, 3) for t in learner.deep(name))


@every_learner
def test_encoder_is_untouched(cls):
    model = tiny(0, width=16, dim=16, vocab=256, context=12).train()
    model.towers["image"].eval()
    model.towers["text"].requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in model.parameters()], [m.training for m in model.modules()]
    inputs = TRAIN.z.clone(), TRAIN.y.clone()
    learner = make(cls).fit(model, NAMES, TRAIN)
    text_of(learner, model=model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert flags == ([(p.requires_grad, p.grad) for p in model.parameters()], [m.training for m in model.modules()])
    assert torch.equal(TRAIN.z, inputs[0])
    assert torch.equal(TRAIN.y, inputs[1])
    assert all(not t.requires_grad for n, t in vars(learner).items() if isinstance(t, torch.Tensor)), "learned tensors hold no graph"


@every_learner
def test_starts_at_the_hand_written_prompt(cls):
    hand_CD = MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    for learner in (make(cls, epochs=0).fit(MODEL, NAMES, TRAIN), make(cls).fit(MODEL, NAMES, TRAIN.rows([]))):
        start = text_of(learner)
        torch.testing.assert_close(start, hand_CD.expand_as(start), rtol=0, atol=1e-6)
    moved = text_of(make(cls).fit(MODEL, NAMES, TRAIN))
    assert (moved - hand_CD).abs().max() > 1e-3  # the default does something


@every_learner
@pytest.mark.parametrize("context", [HAND, 3], ids=["template", "random"])
def test_classes_are_equivariant(cls, context):
    perm = torch.tensor([2, 0, 3, 1])  # new class i is old class perm[i]
    old = text_of(make(cls, context=context).fit(MODEL, NAMES, TRAIN))
    train = dataclasses.replace(TRAIN, y_N=torch.argsort(perm)[TRAIN.y])
    names = [NAMES[i] for i in perm]
    new = text_of(make(cls, context=context).fit(MODEL, names, train), names)
    torch.testing.assert_close(new, old[..., perm, :], rtol=0, atol=1e-4)


@every_learner
def test_second_fit_equals_a_fresh_one(cls):
    other = TRAIN.rows(range(8))
    again = make(cls).fit(MODEL, NAMES, TRAIN).fit(MODEL, NAMES[:4], other)
    fresh = make(cls).fit(MODEL, NAMES[:4], other)
    assert torch.equal(text_of(again), text_of(fresh))
    assert set(vars(again)) == set(vars(fresh))


@every_learner
def test_training_lowers_the_loss_and_a_new_class_gets_text(cls):
    learner = make(cls, epochs=30, lr=2e-3, optimizer="adamw").fit(MODEL, NAMES, TRAIN)
    assert learner.losses_[-3:].mean() < learner.losses_[:3].mean() - 0.01
    new = text_of(learner, ["moon"])
    assert new.shape[-2:] == (1, 16)
    torch.testing.assert_close(new.norm(dim=-1), torch.ones(new.shape[:-1]))


@every_learner
def test_bad_input_is_refused_with_the_reason(cls):
    learner = make(cls)
    with pytest.raises(EncoderMismatch):
        learner.fit(MODEL, NAMES, dataclasses.replace(TRAIN, encoder="another"))
    with pytest.raises(ValueError, match="row 2"):
        learner.fit(MODEL, NAMES, dataclasses.replace(TRAIN, z_ND=TRAIN.z.index_fill(0, torch.tensor([2]), float("nan"))))
    with pytest.raises(ValueError, match="cached image features"):
        learner.fit(MODEL, NAMES, None)
    with pytest.raises(ValueError, match="appears twice"):
        learner.fit(MODEL, [*NAMES, "star"], TRAIN)
    with pytest.raises(ValueError, match="is empty"):
        learner.fit(MODEL, [*NAMES, " "], TRAIN)
    with pytest.raises(ValueError, match="do not fit"):
        make(cls, context=9).fit(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="no words in front"):
        make(cls, context="{} in a photo").fit(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="at least one"):
        make(cls, context=0).fit(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="unknown optimizer"):
        make(cls, optimizer="lion").fit(MODEL, NAMES, TRAIN)
    if "probs_NC" not in inspect.signature(cls.fit).parameters:  # learners that make labels ignore those that are given
        with pytest.raises(ValueError, match="label 4"):
            learner.fit(MODEL, NAMES, dataclasses.replace(TRAIN, y_N=TRAIN.y + 1))
        with pytest.raises(ValueError, match="one class per row"):
            learner.fit(MODEL, NAMES, dataclasses.replace(TRAIN, y_N=None))
    foreign = tiny(0, width=16, dim=16, vocab=256, context=12)
    foreign.towers["text"] = Wrapped(torch.nn.Linear(1, 1), 16, name="a foreign encoder")
    with pytest.raises(ValueError, match="a foreign encoder"):
        learner.fit(foreign, NAMES, TRAIN)
    fitted = make(cls).fit(MODEL, NAMES, TRAIN)
    with pytest.raises(EncoderMismatch, match="another model"):
        fitted.ids(tiny(1, width=16, dim=16, vocab=256, context=12), NAMES)


def test_there_are_learners():
    assert {p.id for p in LEARNERS} >= {"prompts/coop", "prompts/kgcoop", "prompts/prograd", "prompts/cocoop"}
