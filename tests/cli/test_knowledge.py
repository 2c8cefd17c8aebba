"""find, ledger, models, packs, evaluate list and train: what they print follows from the index, the tables and the recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pairwright.cli import recipes, show
from pairwright.cli.overrides import override
from pairwright.core.index import entries
from pairwright.data.packs import PACKS
from pairwright.suites import table


def test_find(run) -> None:
    (tip,) = entries("heads/cache/tip_adapter")
    ran = run("find", "tip", "adapter")
    assert ran.code == 0
    assert ran.out.startswith(f"{tip.card.name}  [heads/cache/tip_adapter]")
    assert tip.import_line in ran.out
    assert tip.card.title in ran.out
    ran = run("find", "tip-adapter", "--json", "--top", 1)
    assert [(m["id"], m["status"], m["import"]) for m in ran.json["methods"]] == [(tip.id, tip.status, tip.import_line)]


def test_find_tells_of_papers_that_are_not_here_yet(run) -> None:
    ran = run("find", "Language-Driven Open-Vocabulary 3D Scene Understanding")
    assert ran.code == 0
    assert "not implemented yet" in ran.out
    assert "pla" in ran.out


def test_ledger(run) -> None:
    every = run("ledger", "--json").json
    assert len(every) == 472
    core = run("ledger", "--tier", "core").out.splitlines()
    assert core[-1].startswith("252 papers: ")
    assert len(core) == 252 + 3
    nothing = [s for s in ("shown", "partly") if not [p for p in every if p["status"] == s]]
    for status in nothing:
        assert run("ledger", "--status", status).out.startswith("0 papers")


def test_models(run) -> None:
    names = [m["name"] for m in run("models", "--json").json]
    assert names[0] == "sprout"
    assert {"ViT-B-32", "ViT-B-16-SigLIP"} <= set(names)
    small = run("models", "siglip", "--json").json
    assert small
    assert all("siglip" in m["name"].lower() for m in small)
    assert "laion2b_s34b_b79k" in run("models", "ViT-B-32").out


def test_packs_list(run, pictures: Path) -> None:
    listed = run("packs", "list", "--json").json
    assert [p["name"] for p in listed] == list(PACKS)
    assert not any(p["cached"] for p in listed)
    assert all(p.licence in run("packs", "list").out for p in PACKS.values())


def test_evaluate_list(run) -> None:
    assert [s["name"] for s in run("evaluate", "list", "--json").json] == [s.name for s in table.SUITES]
    assert all(s.name in run("evaluate", "list").out for s in table.SUITES)


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1


@dataclass(frozen=True)
class Config:
    """A configuration of every kind of field."""

    steps: int = 10
    name: str = "x"
    ema: bool = False
    scale: float = 1.0
    packs: tuple[str, ...] = ("a",)
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("steps=5", Config(steps=5)),
        ("name=7", Config(name="7")),
        ("name=a=b", Config(name="a=b")),
        ("ema=true", Config(ema=True)),
        ("scale=2", Config(scale=2.0)),
        ("scale=1e-3", Config(scale=0.001)),
        ("packs=a,b", Config(packs=("a", "b"))),
        ('packs=["c"]', Config(packs=("c",))),
        ("limit=3", Config(limit=3)),
        ("inner.lr=0.5", Config(inner=Inner(0.5))),
    ],
)
def test_override(setting: str, expected: Config) -> None:
    changed = override(Config(), [setting])
    assert changed == expected
    assert type(changed.scale) is float


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("steps", "field=value"),
        ("=3", "field=value"),
        ("step=5", "did you mean steps"),
        ("steps=1.5", "expected int like 10"),
        ("steps=true", "expected int"),
        ("ema=1", "expected bool"),
        ("packs=1", "expected tuple"),
        ("inner=3", "expected Inner"),
        ("steps.x=3", "steps is a single value"),
        ("inner.zzz=3", "the fields are lr"),
    ],
)
def test_override_refuses(setting: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        override(Config(), [setting])


RECIPE = '''"""Twins: a recipe for tests."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    steps: int = 3


CONFIG = Config


def twins(data, out, *, resume, config):
    out.mkdir(parents=True, exist_ok=True)
    (out / "run.json").write_text(json.dumps({"data": data, "steps": config.steps, "resume": resume}))
'''


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pairwright.recipes

    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "twins.py").write_text(RECIPE)
    (folder / "_helper.py").write_text("CONFIG = 1\n")
    (folder / "page.py").write_text("def page(): ...\n")
    monkeypatch.setattr(recipes, "FOLDER", folder)
    monkeypatch.setattr(pairwright.recipes, "__path__", [str(folder)])


def test_train_runs_the_recipe_and_guards_the_folder(run, recipe: None, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run("train", "list", "--json").json == [{"name": "twins", "about": "Twins: a recipe for tests."}]
    assert run("train", "twins", "--dry-run", "--set", "steps=7", "--json").json == {"steps": 7}
    assert "--out is missing" in run("train", "twins").err
    ran = run("train", "twins", "--data", "x.parquet", "--out", out, "--set", "steps=7", "--json")
    assert ran.json == {"data": "x.parquet", "steps": 7, "resume": False}
    ran = run("train", "twins", "--out", out)
    assert ran.code == 2
    assert "add --resume" in ran.err
    assert run("train", "twins", "--out", out, "--resume", "--json").json == {"data": None, "steps": 3, "resume": True}
    assert "did you mean twins" in run("train", "twin", "--out", out).err


def test_batch_and_micro_have_options_of_their_own(run) -> None:
    found = run("train", "clip", "--batch", "32768", "--micro", "auto", "--set", "epochs=2", "--dry-run", "--json").json
    assert (found["batch"], found["micro"]) == (32768, "auto")
    assert run("train", "clip", "--micro", "8", "--dry-run", "--json").json["micro"] == 8


def test_the_recipes_of_the_package_have_a_configuration() -> None:
    assert "sprout" in recipes.available()
    for name in recipes.available():
        function, config = recipes.load(name)
        assert callable(function)
        assert recipes.as_dict(config)


def test_tables_align_and_numbers_stand_right() -> None:
    text = show.table([("a", 1.5, 7), ("日本", 12.25, 1000)], ("name", "x", "n"))
    assert text.splitlines() == ["name       x     n", "a      1.500     7", "日本  12.250  1000"]
    assert "\x1b" not in show.table([("\x1b[31mred\nx",)])
    assert show.table([]) == ""
