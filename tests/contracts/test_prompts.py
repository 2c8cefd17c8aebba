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
from pairwright.prompts.images import Images
from pairwright.prompts.persist import load_prompts, save_prompts

LEARNERS = [p for p in mechanisms("prompts") if hasattr(p.values[0], "class_text")]
NAMES = ["red circle", "blue square", "star", "small green heart"]
HAND = "a photo of a {}"


def twin(seed: int = 0):
    return tiny(seed, image="vit", size=8, patch=4, width=16, dim=16, vocab=256, context=12)


MODEL = twin().requires_grad_(False)
every_learner = pytest.mark.parametrize("cls", LEARNERS)


def planted(model=MODEL, shots: int = 3) -> Features:
    """Rows around the classes' own text, turned by a common offset."""
    text_CD = model.text(model.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    y = torch.arange(len(NAMES)).repeat(shots)
    rng = generator("planted prompts")
    noise = torch.randn(len(y), text_CD.shape[1], generator=rng) / 8
    return Features.of(text_CD[y] + noise + unit(torch.randn(text_CD.shape[1], generator=rng)), y, encoder=model.fingerprint)


def pictures(shots: int = 3) -> Images:
    """Noise around one picture for each class."""
    y = torch.arange(len(NAMES)).repeat(shots)
    rng = generator("planted pictures")
    return Images(torch.randn(len(NAMES), 3, 8, 8, generator=rng)[y] + torch.randn(len(y), 3, 8, 8, generator=rng) / 4, y)


TRAIN = planted()
PICTURES = pictures()


def reaches_in(cls) -> bool:
    """Whether it has tokens inside the image tower, and so learns from images."""
    return hasattr(cls, "image_features")


def train_of(cls) -> Features | Images:
    return PICTURES if reaches_in(cls) else TRAIN


def make(cls, epochs: int = 2, context: int | str = HAND, **how):
    """A learner with short training; where it compares with a hand-written prompt, that is HAND."""
    has = {f.name for f in dataclasses.fields(cls)}
    more = {"template": HAND} if "template" in has else {}
    if "layers" in has:
        more["layers"] = 1  # further blocks get tokens that no words stand for
    if "towers" in has and isinstance(context, int):
        more["towers"] = ("image", "text")
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
    assert learner.fit(MODEL, NAMES, train_of(cls)) is learner
    assert dataclasses.asdict(learner) == before
    for name in ("image", "text"):
        assert all(t.ndim in (2, 3) for t in learner.deep(name))


@every_learner
def test_encoder_is_untouched(cls):
    model = twin().train()
    model.towers["image"].eval()
    model.towers["text"].requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in model.parameters()], [m.training for m in model.modules()]
    inputs = [t.clone() for t in (TRAIN.z, TRAIN.y, PICTURES.x, PICTURES.y_N)]
    learner = make(cls).fit(model, NAMES, train_of(cls))
    text_of(learner, model=model)
    if reaches_in(cls):
        learner.image_features(model, PICTURES)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert flags == ([(p.requires_grad, p.grad) for p in model.parameters()], [m.training for m in model.modules()])
    assert all(torch.equal(a, b) for a, b in zip((TRAIN.z, TRAIN.y, PICTURES.x, PICTURES.y_N), inputs))
    assert all(not t.requires_grad for n, t in vars(learner).items() if isinstance(t, torch.Tensor)), "learned tensors hold no graph"


@every_learner
def test_starts_at_the_hand_written_prompt(cls):
    hand_CD = MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    for learner in (make(cls, epochs=0).fit(MODEL, NAMES, train_of(cls)), make(cls).fit(MODEL, NAMES, train_of(cls).rows([]))):
        start = text_of(learner)
        torch.testing.assert_close(start, hand_CD.expand_as(start), rtol=0, atol=1e-6)
    moved = make(cls).fit(MODEL, NAMES, train_of(cls))
    if reaches_in(cls):
        first, last = (m.image_features(MODEL, PICTURES).z for m in (make(cls, epochs=0).fit(MODEL, NAMES, PICTURES), moved))
        assert (last - first).abs().max() > 1e-3  # the default does something
    else:
        assert (text_of(moved) - hand_CD).abs().max() > 1e-3


@every_learner
@pytest.mark.parametrize("context", [HAND, 3], ids=["template", "random"])
def test_classes_are_equivariant(cls, context):
    perm = torch.tensor([2, 0, 3, 1])  # new class i is old class perm[i]
    train = train_of(cls)
    old = make(cls, context=context).fit(MODEL, NAMES, train)
    names = [NAMES[i] for i in perm]
    new = make(cls, context=context).fit(MODEL, names, dataclasses.replace(train, y_N=torch.argsort(perm)[train.y_N]))
    torch.testing.assert_close(text_of(new, names), text_of(old)[..., perm, :], rtol=0, atol=1e-4)
    if reaches_in(cls):
        torch.testing.assert_close(*(m.image_features(MODEL, PICTURES).z for m in (new, old)), rtol=0, atol=1e-4)


@every_learner
def test_second_fit_equals_a_fresh_one(cls):
    other = train_of(cls).rows(range(8))
    again = make(cls).fit(MODEL, NAMES, train_of(cls)).fit(MODEL, NAMES[:4], other)
    fresh = make(cls).fit(MODEL, NAMES[:4], other)
    assert torch.equal(text_of(again), text_of(fresh))
    assert set(vars(again)) == set(vars(fresh))


@every_learner
def test_saved_and_loaded_is_the_same(cls, tmp_path):
    learner = make(cls).fit(MODEL, NAMES, train_of(cls))
    save_prompts(learner, tmp_path / "prompts.safetensors")
    loaded = load_prompts(tmp_path / "prompts.safetensors")
    assert type(loaded) is cls
    assert loaded.how == learner.how
    assert torch.equal(text_of(loaded), text_of(learner))
    if reaches_in(cls):
        assert torch.equal(loaded.image_features(MODEL, PICTURES).z, learner.image_features(MODEL, PICTURES).z)
        assert loaded.fingerprint == learner.fingerprint


@every_learner
def test_training_lowers_the_loss_and_a_new_class_gets_text(cls):
    learner = make(cls, epochs=30, lr=2e-3, optimizer="adamw").fit(MODEL, NAMES, train_of(cls))
    assert learner.losses_[-3:].mean() < learner.losses_[:3].mean() - 0.01
    new = text_of(learner, ["moon"])
    assert new.shape[-2:] == (1, 16)
    torch.testing.assert_close(new.norm(dim=-1), torch.ones(new.shape[:-1]))


@every_learner
def test_bad_input_is_refused_with_the_reason(cls):
    learner, train = make(cls), train_of(cls)
    x = "x" if reaches_in(cls) else "z_ND"
    if not reaches_in(cls):
        with pytest.raises(EncoderMismatch):
            learner.fit(MODEL, NAMES, dataclasses.replace(TRAIN, encoder="another"))
    with pytest.raises(ValueError, match="row 2"):
        learner.fit(MODEL, NAMES, dataclasses.replace(train, **{x: getattr(train, x).index_fill(0, torch.tensor([2]), float("nan"))}))
    for wrong in (None, TRAIN if reaches_in(cls) else PICTURES):
        with pytest.raises(ValueError, match="learns from images" if reaches_in(cls) else "cached image features"):
            learner.fit(MODEL, NAMES, wrong)
    with pytest.raises(ValueError, match="appears twice"):
        learner.fit(MODEL, [*NAMES, "star"], train)
    with pytest.raises(ValueError, match="is empty"):
        learner.fit(MODEL, [*NAMES, " "], train)
    with pytest.raises(ValueError, match="do not fit"):
        make(cls, context=9).fit(MODEL, NAMES, train_of(cls))
    with pytest.raises(ValueError, match="no words in front"):
        make(cls, context="{} in a photo").fit(MODEL, NAMES, train_of(cls))
    with pytest.raises(ValueError, match="at least one"):
        make(cls, context=0).fit(MODEL, NAMES, train_of(cls))
    with pytest.raises(ValueError, match="unknown optimizer"):
        make(cls, optimizer="lion").fit(MODEL, NAMES, train_of(cls))
    if "probs_NC" not in inspect.signature(cls.fit).parameters:  # learners that make labels ignore those that are given
        with pytest.raises(ValueError, match="label 4"):
            learner.fit(MODEL, NAMES, dataclasses.replace(train, y_N=train.y_N + 1))
        with pytest.raises(ValueError, match="one class per row"):
            learner.fit(MODEL, NAMES, dataclasses.replace(train, y_N=None))
    foreign = twin()
    foreign.towers["text"] = Wrapped(torch.nn.Linear(1, 1), 16, name="a foreign encoder")
    with pytest.raises(ValueError, match="a foreign encoder"):
        learner.fit(foreign, NAMES, train_of(cls))
    if reaches_in(cls):
        foreign = twin()
        foreign.towers["image"] = tiny(0, size=8, width=16, dim=16).towers["image"]
        with pytest.raises(ValueError, match="no place for them"):
            learner.fit(foreign, NAMES, PICTURES)
    fitted = make(cls).fit(MODEL, NAMES, train)
    with pytest.raises(EncoderMismatch, match="another model"):
        fitted.ids(twin(1), NAMES)


def test_there_are_learners():
    assert {p.id for p in LEARNERS} >= {"prompts/coop", "prompts/kgcoop", "prompts/prograd", "prompts/cocoop"}
