"""The bundle: exact after a round trip, and refused where anything does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pairwright.core import io
from pairwright.core.features import EncoderMismatch, Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.linear.gda import GDA
from pairwright.heads.linear.one_vs_rest import OneVsRest
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.models.tiny import tiny
from pairwright.recipes.adapt.committee import Committee, Member
from pairwright.recipes.adapt.kinds import AnyOf, OneOf
from pairwright.recipes.adapt.learn import Wish
from pairwright.serve import write
from pairwright.serve.bundle import META, load_bundle
from pairwright.serve.write import check_target, save_bundle

SIM = simulate(0, classes=3, shots=4, width=8, test_per_class=4)
NAMES = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "write_report", lambda out, folder: io.write_text(folder / "report.html", "<p>"))


def made(multi: bool = False) -> SimpleNamespace:
    """What the writer reads of an `Adapted`."""
    heads = [OneVsRest()] if multi else [TipAdapter(), GDA()]
    members = [Member(f"id {i}", f"label {i}", h.fit(SIM.train, SIM.text), 0.5 + i, 0.0) for i, h in enumerate(heads)]
    committee = Committee(members, OneOf(), 1.5)
    committee = replace(committee, threshold=float(committee.probabilities(SIM.test).max(1).values.median()))  # half are below
    if multi:
        committee = Committee(members, AnyOf(), 1.5, 0.1, 0.0, torch.tensor([0.2, 0.5, 1.1], dtype=torch.float64))
    return SimpleNamespace(
        learned=SimpleNamespace(committee=committee, promised=not multi),
        problem=SimpleNamespace(names=NAMES, multi=multi),
        text=SIM.text,
        model_name="tiny",
        after=SIM.train.encoder,
        preprocess={"size": 32},
        templates="simple",
        wish=Wish(),
        tuned=None,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_bundle(made(), tmp_path / "b")


def edit(folder: Path, **changes) -> None:
    meta = io.read_json(folder / META)
    for path, value in changes.items():
        at = meta
        *way, last = path.split("__")
        for key in way:
            at = at[int(key) if key.isdigit() else key]
        at[last] = value
    (folder / META).write_text(json.dumps(meta))


@pytest.mark.parametrize("multi", [False, True])
def test_a_round_trip_is_exact(tmp_path, multi):
    before = made(multi)
    bundle = load_bundle(save_bundle(before, tmp_path / "b"))
    c = before.learned.committee
    p = c.probabilities(SIM.test)
    assert torch.equal(bundle.probabilities(SIM.test), p)
    assert sorted(f.name for f in (tmp_path / "b").iterdir())[:2] == ["bundle.json", "head-0.safetensors"]
    assert [f.name for f in tmp_path.iterdir()] == ["b"]  # nothing temporary is left
    for verdict, said, row in zip(bundle.verdicts(SIM.test, top=2), c.said(p), p, strict=True):
        assert verdict.said == tuple(NAMES[i] for i in said)
        assert verdict.best[0] == (NAMES[int(row.argmax())], float(row.max()))
        assert len(verdict.best) == 2
    if not multi:
        assert [bool(v.said) for v in bundle.verdicts(SIM.test)] == (p.max(1).values >= c.threshold).tolist()
        assert 0 < sum(not v.said for v in bundle.verdicts(SIM.test)) < len(SIM.test)


def test_some_classes_only(folder):
    bundle = load_bundle(folder)
    two = bundle.verdicts(SIM.test, labels=["blue", "red"])
    p = bundle.probabilities(SIM.test)[:, [2, 0]]
    assert two[0].best[0][1] == pytest.approx(float((p / p.sum(1, keepdim=True))[0].max()))
    with pytest.raises(ValueError, match="no class 'reed'; did you mean 'red'"):
        bundle.verdicts(SIM.test, labels=["reed"])


def test_features_of_another_encoder_and_bad_rows_are_refused(folder):
    bundle = load_bundle(folder, SimpleNamespace(fingerprint="another"))
    with pytest.raises(EncoderMismatch):
        bundle.probabilities(Features(SIM.test.z, encoder="another"))
    with pytest.raises(EncoderMismatch, match="made with tiny"):
        bundle.classify(["x.png"])
    with pytest.raises(ValueError, match="row 0"):
        bundle.probabilities(torch.full((1, 8), torch.nan))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members__0__file": "../head-0.safetensors"}, "not the name of a head"),
        ({"members__0__file": "/etc/passwd"}, "not the name of a head"),
        ({"members__0__file": "head-7.safetensors"}, "missing"),
        ({"members__0__file": 3}, "not the name of a head"),
        ({"members__0__sha256": "00"}, "has changed"),
        ({"members": []}, "no head"),
        ({"members": "x"}, "damaged"),
        ({"classes": ["red", "green"]}, "scores of shape"),
        ({"classes": ["red", "red", "blue"]}, "given twice"),
        ({"classes": "red"}, "classes are a list"),
        ({"model__width": 9}, "width 9"),
        ({"model__width": -1}, "width"),
        ({"model__fingerprint": "another"}, "another encoder"),
        ({"model": {}}, "damaged"),
        ({"slope": "1"}, "finite number"),
        ({"threshold": float("inf")}, "finite number"),
        ({"thresholds": [0.5, 0.5, 0.5]}, "thresholds"),
        ({"format": 99}, "format 99"),
        ({"kind": "other"}, "does not describe"),
    ],
)
def test_hostile_and_damaged_bundles_are_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_bundle(folder)


def test_links_pickles_and_other_files_are_refused(folder, tmp_path):
    head = folder / "head-0.safetensors"
    raw = head.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    head.rename(elsewhere)
    head.symlink_to(elsewhere)
    with pytest.raises(ValueError, match="link to elsewhere"):
        load_bundle(folder)
    head.unlink()
    head.write_bytes(b"PK\x03\x04" + raw)
    edit(folder, members__0__sha256=io.hash_file(head))
    with pytest.raises(ValueError, match="pickle"):
        load_bundle(folder)
    (folder / META).write_text("{")
    with pytest.raises(ValueError, match="JSON"):
        load_bundle(folder)
    with pytest.raises(FileNotFoundError, match=r"no bundle\.json"):
        load_bundle(tmp_path)


def test_an_older_bundle_is_replaced_and_anything_else_left_alone(folder, tmp_path):
    new = made()
    new.learned.committee = Committee([Member("z", "zero-shot", ZeroShot().fit(None, SIM.text))], OneOf())
    save_bundle(new, folder)
    assert sorted(p.name for p in folder.iterdir()) == ["bundle.json", "head-0.safetensors", "report.html"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        save_bundle(new, folder)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("x")
    with pytest.raises(ValueError, match="is no bundle"):
        check_target(tmp_path / "photos")
    with pytest.raises(ValueError, match="not a folder"):
        check_target(tmp_path / "photos" / "a.jpg")
    with pytest.raises(ValueError, match="cannot be written"):
        check_target(tmp_path / "photos" / "a.jpg" / "bundle")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "photos"]


def test_a_failure_in_the_middle_leaves_the_older_bundle(folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "write_report", fail)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(made(), folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["b"]


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """A bundle that brings weights along, whose fingerprint is not the one that its description names."""
    new = made()
    new.tuned = SimpleNamespace(taken=True, model=tiny(0, size=16, width=16, dim=8, layers=1, vocab=256, context=12))
    return save_bundle(new, tmp_path / "t")


def test_a_bundle_without_tuned_weights_does_not_mention_them(folder, tuned):
    assert "weights" not in io.read_json(folder / META)
    assert sorted(io.read_json(tuned / META)["weights"]) == sorted(p.name for p in (tuned / "model").iterdir())
    assert torch.equal(load_bundle(tuned).probabilities(SIM.test), load_bundle(folder).probabilities(SIM.test))
    save_bundle(made(), tuned)  # replaced by one without
    assert not (tuned / "model").exists()


WEIGHTS = "weights__open_clip_model.safetensors"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, "nothing like that is listed"),
        ({"weights": {}}, "nothing like that is listed"),
        ({"weights": "model"}, "nothing like that is listed"),
        ({"weights__../x.json": {"bytes": 1, "sha256": "00"}}, r"\.\./x\.json is missing"),
        ({"weights__open_clip_config.json__sha256": "00"}, "has changed"),
        ({f"{WEIGHTS}__sha256": None}, "has changed"),
        ({f"{WEIGHTS}__bytes": 3}, "has changed"),
        ({WEIGHTS: {}}, "damaged"),
        ({WEIGHTS: 3}, "damaged"),
    ],
)
def test_hostile_descriptions_of_weights_are_refused(tuned, changes, message):
    edit(tuned, **changes)
    with pytest.raises(ValueError, match=message):
        load_bundle(tuned)


def test_hostile_folders_of_weights_are_refused(tuned, tmp_path, monkeypatch):
    model, path = tuned / "model", tuned / "model" / "open_clip_model.safetensors"
    raw = path.read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            load_bundle(tuned)

    listed = io.read_json(tuned / META)["weights"]
    for name in ("pytorch_model.bin", "run.py", ".hidden.json"):  # listed, but nothing that a model needs
        (model / name).write_bytes(b"x")
        edit(tuned, weights={**listed, name: {"bytes": 1, "sha256": io.hash_file(model / name)}})
        refused("not the name of a file of a model")
        edit(tuned, weights=listed)
        refused("is not listed")
        (model / name).unlink()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))  # one bit, the same size
    refused("has changed")
    path.rename(tmp_path / "elsewhere")
    refused("is missing")
    path.symlink_to(tmp_path / "elsewhere")
    refused("link to elsewhere")
    path.unlink()
    path.write_bytes(raw)
    monkeypatch.setattr("pairwright.serve.weights._MOST_WEIGHTS", 1000)
    refused("larger than any file of a model")
    monkeypatch.undo()
    with pytest.raises(EncoderMismatch):  # whole and listed, but not the weights that the heads were fitted on
        load_bundle(tuned).classify(["x.png"])
    model.rename(tmp_path / "model")
    model.symlink_to(tmp_path / "model")
    refused("link to elsewhere")
    with pytest.raises(ValueError, match="model in it is not part of one"):
        save_bundle(made(), tuned)
