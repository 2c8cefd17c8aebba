"""adapt and classify --bundle as a user runs them: what they say, what they write, and how they fail."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import pairwright as pw
from pairwright.evaluate.world_rows import things
from pairwright.recipes.adapt import portfolio
from pairwright.recipes.adapt.weights import Price


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))
    zero, tip, (gda, settings, slow) = portfolio.ONE[:3]
    monkeypatch.setattr(portfolio, "ONE", (zero, (tip[0], tip[1][1:2], tip[2]), (gda, settings[1::2], slow)))
    monkeypatch.setattr(portfolio, "UNSEEN", (("heads/linear/gda", 1),))
    monkeypatch.setattr("pairwright.recipes.adapt.run.affordable", lambda *_: ([], ""))  # prompt learning takes seconds
    monkeypatch.setattr("pairwright.recipes.adapt.run.affordable_offer", lambda *_: (None, ""))  # and so does tuning
    for name, colour in (("red", "red"), ("blue", "blue")):
        for k in range(4):
            image = Image.new("RGB", (40, 40), "white")
            ImageDraw.Draw(image).ellipse((2 + 3 * k, 2 + 2 * (k % 3), 16 + 3 * k, 18 + 5 * (k % 4)), fill=colour)
            path = tmp_path / "photos" / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return tmp_path / "photos"


def test_adapt_then_classify(run, photos, model_name, tmp_path):
    out = tmp_path / "bundle"
    ran = run("adapt", photos, "--model", model_name, "--out", out, "--budget", "9h", "--json")
    assert ran.code == 0, ran.err
    assert "8 labelled images of 2 classes" in ran.err
    found = ran.json
    assert found["classes"] == ["blue", "red"]
    assert found["protocol"] == "nested"
    assert found["weights_unchanged"]
    assert 0 <= found["metrics"]["accuracy"]["low"] <= found["metrics"]["accuracy"]["high"] <= 1
    assert {t["state"] for t in found["tried"]} <= {"finished", "dropped"}
    assert len(found["answers"]) == 8
    page = (out / "report.html").read_text()
    for part in ("How good is it?", "What was tried", "What it forgot", "What to know", "zero-shot classifier"):
        assert part in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    again = run("adapt", photos, "--model", model_name, "--out", out, "--budget", "9h", "--json").json
    assert again["answers"] == found["answers"]

    ran = run("classify", photos, "--bundle", out, "--json")
    assert ran.code == 0, ran.err
    bundle = pw.load_bundle(out)
    verdicts = bundle.classify(photos)
    assert [a["path"] for a in ran.json["answers"]] == [v.id for v in verdicts]
    for a, v in zip(ran.json["answers"], verdicts, strict=True):
        assert a["said"] == list(v.said)
        assert a["labels"][0]["probability"] == pytest.approx(v.best[0][1], abs=1e-6)
    table = run("classify", photos / "red", "--bundle", out)
    assert table.out.splitlines()[0].split() == ["image", "answer", "p", "next"]
    bad = run("classify", photos, "--bundle", out, "--labels", "redd")
    assert (bad.code, "did you mean 'red'" in bad.err) == (2, True)
    assert run("classify", photos, "--bundle", photos).code == 2


def test_names_alone_are_zero_shot(run, photos, model_name, tmp_path):
    ran = run("adapt", photos / "red", "--labels", "red ball,blue ball", "--model", model_name, "--out", tmp_path / "b", "--budget", "9h")
    assert ran.code == 0, ran.err
    assert "4 images without labels" in ran.err
    assert "there are no labels" in ran.err
    said = run("classify", photos / "red", "--bundle", tmp_path / "b", "--json").json["answers"]
    plain = run("classify", photos / "red", "--labels", "red ball,blue ball", "--model", model_name, "--json").json["answers"]
    assert [a["said"][0] for a in said] == [a["labels"][0]["label"] for a in plain]


def test_a_second_and_a_forced_method(run, photos, model_name, tmp_path):
    ran = run("adapt", photos, "--model", model_name, "--out", tmp_path / "b", "--budget", "1s")
    assert ran.code == 0, ran.err
    assert "too short for a search: this is zero-shot" in ran.err
    assert "chosen: zero-shot classifier" in ran.out
    ran = run("adapt", photos, "--model", model_name, "--out", tmp_path / "b", "--method", "tip adapter", "--budget", "9h")
    assert "chosen: Tip-Adapter" in ran.out


def test_a_forced_method_that_tunes_weights(run, photos, model_name, tmp_path, monkeypatch):
    monkeypatch.setattr("pairwright.recipes.adapt.ways.MOST_STEPS", 1)
    monkeypatch.setattr("pairwright.recipes.adapt.weights.Tuner.price", lambda self: Price(1e-6, 1e-6))
    monkeypatch.setattr("pairwright.recipes.adapt.offer.most_folds", lambda *_: 2)
    world = things("natural", 40)[0], {"version": "", "rows": 40}
    monkeypatch.setattr("pairwright.evaluate.protocol.world_rows", lambda _: world)
    out = tmp_path / "b"
    ran = run("adapt", photos, "--model", model_name, "--out", out, "--method", "clip lora", "--budget", "9h", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["weights_unchanged"], ran.json["tuned"]["folds"]) == (False, 2)
    assert ran.json["forgot"]["suite"] == "world-shapes"
    said = run("classify", photos, "--bundle", out, "--json").json["answers"]
    assert [a["path"] for a in said] == [v.id for v in pw.load_bundle(out).classify(photos)]
    assert run("classify", photos, "--bundle", out, "--model", model_name).code == 2
    many = run("adapt", photos, "--model", model_name, "--method", "FLYP", "--multi-label")
    assert (many.code, "FLYP learns one class for each image" in many.err, "CLIP-LoRA" in many.err) == (2, True, True)


def test_an_interrupt_writes_the_bundle(run, photos, model_name, tmp_path, monkeypatch):
    fits = []
    fit = portfolio.Candidate.fit

    def interrupted(self, *args):
        fits.append(1)
        if len(fits) == 4:
            raise KeyboardInterrupt
        return fit(self, *args)

    monkeypatch.setattr(portfolio.Candidate, "fit", interrupted)
    ran = run("adapt", photos, "--model", model_name, "--out", tmp_path / "b", "--budget", "9h")
    assert ran.code == 130
    assert "interrupted" in ran.err
    assert len(pw.load_bundle(tmp_path / "b").classify(photos)) == 8


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--budget", "soon"), "30s"),
        (("--risk", "2"), "--risk"),
        (("--class-precision", "0.9"), "--multi-label"),
        (("--method", "siglip"), "makes no classifier"),
        (("--method", "tip adapting thing"), "close to it are Tip-Adapter"),
        (("--labels", "red"), "not among"),
        (("--out", "README.md/x"), "cannot be written"),
    ],
)
def test_bad_wishes_are_refused_before_any_work(run, photos, model_name, args, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("x")
    ran = run("adapt", photos, "--model", model_name, *args)
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "bundle").exists()


def test_precision_reaches_the_embedding(run, photos, model_name, tmp_path, monkeypatch):
    asked = []

    def note(where):
        embed = importlib.import_module(where).embed

        def noted(*args, precision="fp32", **more):
            asked.append(precision)
            return embed(*args, **more)

        monkeypatch.setattr(f"{where}.embed", noted)

    note("pairwright.recipes.adapt.pictures")
    note("pairwright.quick")
    ran = run("adapt", photos, "--model", model_name, "--out", tmp_path / "b", "--budget", "1s", "--precision", "bf16")
    assert (ran.code, set(asked)) == (0, {"bf16"})
    for how in ("fp32", "auto"):
        asked.clear()
        assert run("classify", photos, "--bundle", tmp_path / "b", "--precision", how).code == 0
        assert asked == [how]
