"""The ways to tune weights: each moves what it says towards what it says, by its own names, for one class an image and for several."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from pairwright.core.encoded import Encoded, Views
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.models.embed import embed
from pairwright.models.tiny import tiny
from pairwright.recipes._fine_tune import Classify
from pairwright.recipes.adapt.methods import forced_method
from pairwright.recipes.adapt.ways import WAYS
from pairwright.recipes.adapt.weights import Tuner, shrunk
from tests.recipes.test_adapt_data import draw

MODEL = tiny(0, image="vit", size=16, width=32, dim=16, layers=1, vocab=256, context=12)
NAMES = ("blue", "red")
MULTI = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 1]])


@pytest.fixture(scope="module")
def tuner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balls")
    files = [folder / f"{k}.png" for k in range(6)]
    for k, file in enumerate(files):
        draw(file, NAMES[k % 2], k)
    z = embed(MODEL, images=files)
    train = Features(z.z_ND, [0, 1] * 3, z.ids, z.encoder, classes=NAMES)
    return Tuner("BitFit", MODEL, train, shrunk(files, 16), ("a {}", "the {}"))


def moved(model) -> set[str]:
    before = MODEL.state_dict()
    return {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}


def test_bitfit_moves_biases_and_layer_norm_tuning_moves_norms(tuner):
    kinds = {"BitFit": set(), "LN-tuning": set()}
    for path, module in MODEL.named_modules():
        for own, _ in module.named_parameters(recurse=False):
            name = f"{path}.{own}"
            kinds["LN-tuning"] |= {name} if isinstance(module, nn.LayerNorm) else set()
            kinds["BitFit"] |= {name} if own.endswith("bias") and ".towers." in f".{name}" else set()
    found = {way: moved(replace(tuner, name=way).fit(range(6), 3)[0]) for way in kinds}
    for way, wanted in kinds.items():
        assert found[way] <= wanted, way
        assert len(found[way]) > len(wanted) / 2, way
    assert found["BitFit"] != found["LN-tuning"]


def test_wise_ft_is_half_way_to_the_tuned_model(tuner, monkeypatch):
    half, head = replace(tuner, name="WiSE-FT").fit(range(6), 2)
    monkeypatch.setattr("pairwright.recipes.adapt.ways.Interpolate", lambda: None)
    whole, end = replace(tuner, name="WiSE-FT").fit(range(6), 2)
    start, tuned = MODEL.state_dict(), whole.state_dict()
    for n, v in half.state_dict().items():
        torch.testing.assert_close(v, (start[n] + tuned[n]) / 2)
    text = class_text(MODEL, NAMES, ["a {}", "the {}"])
    torch.testing.assert_close(head.weight_, (text.scale * text.W_CD + end.weight_) / 2)
    assert all(n.startswith("towers.image.") for n in moved(half))


@pytest.mark.parametrize("way", [w for w, way in WAYS.items() if way.several])
def test_several_classes_an_image(tuner, way):
    train = replace(tuner.train, y_N=MULTI)
    model, head = replace(tuner, name=way, train=train).fit(range(6), 2)
    assert moved(model)
    assert head.encoder_ == model.fingerprint
    assert head.logits(embed(model, images=list(train.ids))).shape == (6, 2)


def test_the_loss_of_several_classes_is_that_of_each_class_by_itself():
    draws = lambda *shape: torch.randn(shape, generator=generator("several", shape))
    z, text, bias = unit(draws(3, 4)), unit(draws(2, 4)), draws(2)
    views = Views({"image": Encoded(z), "text": Encoded(text)}, group_B=torch.tensor([4, 0, 2]))
    loss, total = Classify(5.0, y_NC=MULTI, bias_C=bias), 0.0
    for row, i in zip(z, (4, 0, 2), strict=True):
        for c in range(2):
            p = 1 / (1 + math.exp(-(5 * float(row @ text[c]) + float(bias[c]))))
            total -= math.log(p if MULTI[i, c] else 1 - p) / 6
    assert float(loss(views).detach()) == pytest.approx(total, rel=1e-5)


def test_a_wrong_name_is_answered_with_near_ones():
    for wrong, near in (("tip adapting thing", "Tip-Adapter"), ("bit fitt 2", "BitFit"), ("wisse-fd", "WiSE-FT"), ("LoRQ", "CLIP-LoRA")):
        with pytest.raises(ValueError, match=f"close to it are .*{near}"):
            forced_method(wrong, MODEL)
    with pytest.raises(ValueError, match="makes no classifier from labels"):
        forced_method("siglip", MODEL)
    with pytest.raises(ValueError, match=r"prompt learners .* WiSE-FT"):
        forced_method("qqqqzzzz", MODEL)


def test_with_several_classes_an_image_what_cannot_is_refused_with_what_can():
    assert forced_method("one_vs_rest", MODEL, multi=True).heads[-1].id == "heads/linear/one_vs_rest"
    assert forced_method("BitFit", MODEL, multi=True).weights == "BitFit"
    for name in ("FLYP", "CoOp", "Tip-Adapter"):
        with pytest.raises(ValueError, match=r"one class for each image; .*one_vs_rest, zero-shot, CLIP-LoRA"):
            forced_method(name, MODEL, multi=True)
