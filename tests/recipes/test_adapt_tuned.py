"""Weight tuning in adapt: what a budget holds, rows that no tuned model has seen, who is handed over, and what was forgotten."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageDraw

import pairwright as pw
from pairwright.core.features import ClassText, EncoderMismatch, Features
from pairwright.core.numerics import generator
from pairwright.data.world.simulate import simulate
from pairwright.evaluate import protocol
from pairwright.evaluate.world_rows import things
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.models.embed import embed
from pairwright.models.tiny import tiny
from pairwright.recipes.adapt import offer, portfolio, run, tuned, ways, weights
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.forgot import forgot, reference
from pairwright.recipes.adapt.learn import FOLDS, SPLIT, Wish, learn
from pairwright.recipes.adapt.page import page, to_json
from pairwright.recipes.adapt.tuned import Schedule, schedule, tune
from pairwright.recipes.adapt.ways import TRIED, WAYS, forced_weights
from pairwright.recipes.adapt.weights import Price

SIM = simulate(3, classes=4, shots=6, width=16, test_per_class=1, text_noise=2.0)
GROUPS = [i // 2 if i < 8 else i for i in range(24)]  # rows of a class lie together; eight of them are pairs of copies


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))
    zero, _, (gda, settings, slow) = portfolio.ONE[:3]
    monkeypatch.setattr(portfolio, "ONE", (zero, (gda, settings[1:2], slow)))
    monkeypatch.setattr(run, "affordable", lambda *_: ([], ""))
    monkeypatch.setattr(ways, "MOST_STEPS", 2)
    monkeypatch.setattr(weights.Tuner, "price", lambda self: Price(1e-6, 1e-6))
    rows = things("natural", 60)
    monkeypatch.setattr(protocol, "world_rows", lambda name: (rows[0], {"version": "", "rows": 60}))


def twin():
    model = tiny(0, image="vit", size=16, width=32, dim=16, layers=1, vocab=256, context=12)
    model.config["name"] = "twin"
    return model


@pytest.fixture
def photos(tmp_path):
    for name in ("red", "blue"):
        for k in range(4):
            image = Image.new("RGB", (40, 40), "white")
            ImageDraw.Draw(image).ellipse((2 + 3 * k, 2 + 2 * (k % 3), 16 + 3 * k, 18 + 5 * (k % 4)), fill=name)
            path = tmp_path / "photos" / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return tmp_path / "photos"


class Stub:
    """A tuner whose head answers with the true class of `share` of the rows, and otherwise with the next; rows are found by their z."""

    name, way, seed = TRIED, WAYS[TRIED], 0

    def __init__(self, right_N):
        self.train, self.right_N, self.seen = SIM.train, right_N, []

    def fit(self, rows, steps):
        self.seen.append(set(rows))
        return SimpleNamespace(fingerprint="tuned"), self

    def logits(self, features):
        at = [int((SIM.train.z @ z).argmax()) for z in features.z_ND]
        said = [int(SIM.train.y[i]) if self.right_N[i] else (int(SIM.train.y[i]) + 1) % 4 for i in at]
        return 5.0 * torch.nn.functional.one_hot(torch.tensor(said), 4).float()


def tuning(monkeypatch, right_N, folds, *, forced=False):
    monkeypatch.setattr(tuned, "embed", lambda model, images, skip_bad: Features(SIM.train.z[images]))
    heads = learn(SIM.train, SIM.text, GROUPS, clock=Clock(1e9))
    stub = Stub(right_N)
    plan = Schedule(2, folds, 2, 0.0)
    after, out = tune(stub, plan, heads, SIM.text, GROUPS, list(range(24)), Wish(), Clock(1e9), forced=forced)
    return heads, after, out, stub


def test_a_budget_holds_as_many_folds_as_it_can_with_enough_steps():
    price = Price(1.0, 10.0)
    # six fits of 500 steps and 10 s each are 3,060 s, and a schedule may fill 0.85 of the time
    assert schedule(price, 500, 5, 3_061 / 0.85, forced=False) == Schedule(500, 5, 500, 3_060.0)
    assert schedule(price, 500, 5, 6 * 110 / 0.85 + 1, forced=False) == Schedule(100, 5, 500, 660.0)
    assert schedule(price, 500, 5, 5 * 110 / 0.85 + 1, forced=False).folds == 4
    assert schedule(price, 500, 5, 200.0, forced=False) is None
    assert schedule(price, 500, 5, 200.0, forced=True) == Schedule(75, 1, 500, 170.0)
    assert schedule(price, 500, 0, 200.0, forced=True).folds == 0
    assert schedule(price, 500, 5, 60.0, forced=True) is None
    assert schedule(price, 7, 5, 130.0, forced=False) == Schedule(7, 5, 7, 102.0)


@pytest.mark.parametrize("folds", [1, 3])
def test_no_row_is_asked_of_a_model_that_saw_it_or_a_copy(monkeypatch, folds):
    right_N = (torch.arange(24) % 5 > 0).tolist()
    heads, after, out, stub = tuning(monkeypatch, right_N, folds, forced=True)
    assert len(stub.seen) == folds + 1
    assert stub.seen[-1] == set(range(24))
    asked = [set(range(24)) - s for s in stub.seen[:-1]]
    for seen, held in zip(stub.seen[:-1], asked, strict=True):
        assert not {GROUPS[i] for i in seen} & {GROUPS[i] for i in held}
    assert set(out.rows_N.nonzero().squeeze(1).tolist()) == set().union(*asked)
    assert after.protocol == (FOLDS if folds == 3 else SPLIT)
    mine = [i for i in range(24) if out.rows_N[i]]
    assert after.metrics["accuracy"].value == pytest.approx(sum(right_N[i] for i in mine) / len(mine))
    assert after.metrics["best_heads_accuracy"].value == pytest.approx(float(heads.right_N[mine].mean()))
    assert after.metrics["zero_shot_accuracy"].value == pytest.approx(float(heads.zero_N[mine].mean()))
    assert ("one held-out split" in after.notes[0]) == (folds == 1)
    p = after.committee.probabilities(SIM.train).max(1).values
    assert float(p.mean()) == pytest.approx(out.value.value, abs=0.1)  # calibrated: as sure as it is right


def test_a_tuned_model_is_taken_only_if_it_is_better_or_forced(monkeypatch):
    heads, after, out, stub = tuning(monkeypatch, [True] * 24, 3)
    assert out.gain.value == pytest.approx(1 - float(heads.right_N.mean()))
    assert out.gain.low > 0
    assert (out.taken, after.committee.members[0].label) == (True, "CLIP-LoRA, 2 steps")
    heads, after, out, stub = tuning(monkeypatch, heads.right_N.bool().tolist(), 3)
    assert (out.taken, out.gain.value, len(stub.seen)) == (False, 0.0, 3)
    assert after is heads
    assert "--method CLIP-LoRA forces it" in after.notes[0]


def test_names_of_weight_tuning():
    means = {
        "CLIP-LoRA": ("CLIP-LoRA", "clip lora", "LoRA"),
        "CLIP-SVD": ("CLIP-SVD",),
        "LN-tuning": ("LN-tuning", "LayerNorm tuning", "norm tuning"),
        "BitFit": ("BitFit", "bitfit", "bias tuning", "BiasOnly"),
        "FLYP": ("FLYP", "finetune like you pretrain"),
        "LP-FT": ("LP-FT", "LP then FT"),
        "WiSE-FT": ("WiSE-FT", "wise ft", "WiSE"),
    }
    assert {n: forced_weights(n) for names in means.values() for n in names} == {n: w for w, names in means.items() for n in names}
    with pytest.raises(ValueError, match="say LN-tuning or BitFit"):
        forced_weights("select_params")
    assert [forced_weights(n) for n in ("Tip-Adapter", "CoOp", "LiT", "siglip", "LoRQ")] == [None] * 5


def test_a_budget_too_small_gives_the_best_heads(monkeypatch, photos):
    monkeypatch.setattr(weights.Tuner, "price", lambda self: Price(1e9, 1.0))
    forced = run.adapt(twin(), photos, budget=9e3, method="CLIP-LoRA")
    monkeypatch.setattr(run, "affordable_offer", lambda *_: (None, ""))
    plain = run.adapt(twin(), photos, budget=9e3)
    assert "does not fit into the budget: with 1e+09 s a step" in forced.learned.notes[0]
    assert forced.learned.notes[1:] == plain.learned.notes
    assert forced.learned.metrics == plain.learned.metrics
    assert (forced.before, forced.tuned, forced.forgot) == (forced.after, None, None)


def test_unasked_it_needs_labels_and_time(monkeypatch, photos):
    train = Features(torch.eye(16)[:8], [0, 0, 0, 0, 1, 1, 1, 1], classes=("red", "blue"))
    ask = lambda rows, seconds: offer.affordable_offer(twin(), train.rows(rows), sources[: len(rows)], "simple", rows, 0, seconds)
    sources = sorted(photos.rglob("*.png"))
    assert ask(list(range(8)), 1e9)[0].tuner.name == TRIED
    assert ask([0, 1, 2, 4, 5, 6], 1e9) == (None, "")
    monkeypatch.setattr(weights, "shrunk", lambda *_: pytest.fail("a picture was read"))
    monkeypatch.setattr(offer, "shrunk", weights.shrunk)
    monkeypatch.setattr(weights.Tuner, "rough", lambda self: 1e5)
    none, why = ask(list(range(8)), 300.0)
    assert none is None
    assert "--method CLIP-LoRA forces it" in why


def test_an_interrupt_keeps_the_best_heads(monkeypatch, photos):
    def fit(self, rows, steps):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights.Tuner, "fit", fit)
    out = run.adapt(twin(), photos, budget=9e3, method="CLIP-LoRA")
    assert out.learned.interrupted
    assert "interrupted" in out.learned.notes[0]
    assert (out.tuned, out.before, out.learned.protocol) == (None, out.after, "nested")


def test_a_tuned_copy_is_handed_over_and_a_bundle_brings_it_along(monkeypatch, photos, tmp_path):
    monkeypatch.setattr("pairwright.recipes.adapt.offer.most_folds", lambda *_: 2)
    model = twin()
    before = model.fingerprint
    out = run.adapt(model, photos, budget=9e3, method="CLIP-LoRA")
    assert (model.fingerprint, out.before) == (before, before)
    assert out.after == out.tuned.model.fingerprint != before
    assert (out.tuned.folds, out.learned.protocol) == (2, FOLDS)
    found = to_json(out)
    assert found["forgot"]["before"]["n"] == found["forgot"]["after"]["n"] == 60
    assert found["tuned"]["taken"]
    assert "The weights moved" in page(out)
    folder = pw.save_bundle(out, tmp_path / "b")
    bundle = pw.load_bundle(folder)
    pictures = [str(p) for p in sorted(photos.rglob("*.png"))]
    z, own = (embed(m, images=pictures) for m in (out.tuned.model, bundle.model))
    assert own.encoder == z.encoder == out.after
    torch.testing.assert_close(bundle.probabilities(own), out.learned.committee.probabilities(z))
    assert [v.best[0][0] for v in bundle.classify(photos)] == [v.best[0][0] for v in bundle.verdicts(z)]
    with pytest.raises(EncoderMismatch, match="brings its own"):
        pw.load_bundle(folder, model).classify(photos)
    pw.save_bundle(out, folder)  # an older bundle with weights is replaced
    (folder / "model" / "mine.py").write_text("")
    with pytest.raises(ValueError, match="model in it is not part of one"):
        pw.save_bundle(out, folder)


@pytest.mark.parametrize("id_", [i for i in WAYS if i != TRIED])
def test_every_method_moves_a_copy_and_answers_from_it(id_, photos):
    model = twin()
    z = embed(model, images=[str(p) for p in sorted(photos.rglob("*.png"))])
    train = Features(z.z_ND, [0] * 4 + [1] * 4, z.ids, z.encoder, classes=("blue", "red"))
    tuner = weights.Tuner(id_, model, train, weights.shrunk(z.ids, 16), ("a {}", "the {}"))
    tuned_model, head = tuner.fit([0, 1, 4, 5], 1)
    assert model.fingerprint == z.encoder != tuned_model.fingerprint
    assert head.encoder_ == tuned_model.fingerprint
    assert head.logits(embed(tuned_model, images=list(z.ids))).shape == (8, 2)


def test_what_was_forgotten_is_the_difference_of_zero_shot_accuracies():
    model = twin()
    same = forgot(model, deepcopy(model))
    assert (same.suite, same.before, same.change.value) == ("world-shapes", same.after, 0.0)
    moved = deepcopy(model)
    with torch.no_grad():
        for p in moved.towers["image"].parameters():
            p.add_(torch.randn(p.shape, generator=generator("moved", tuple(p.shape))))
    told = forgot(model, moved)
    assert told.before == same.before
    rows = protocol.world_rows("")[0].to_pylist()
    names = sorted({r["label"] for r in rows})
    for m, number in ((model, told.before), (moved, told.after)):
        text: ClassText = class_text(m, names, "a {}")
        said = ZeroShot().fit(None, text).logits(embed(m, images=[r["image"] for r in rows])).argmax(1).tolist()
        assert number.value == pytest.approx(sum(names[s] == r["label"] for s, r in zip(said, rows, strict=True)) / 60)
        assert number.low <= number.value <= number.high
    assert told.change.value == pytest.approx(told.after.value - told.before.value)
    assert told.change.value != 0
    few = reference(7).ask(*protocol.open_rows(reference(7))[:2])[""]
    assert (len(few), few.text_T) == (7, names)
