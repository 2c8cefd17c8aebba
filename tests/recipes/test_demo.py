"""The demo from end to end on small packs and a small model; its errors; and (packs) the real thing."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairwright.data import packs
from pairwright.data.packs import splits
from pairwright.evaluate.result import Result
from pairwright.models.tiny import tiny
from pairwright.recipes import demo

THINGS = 40
HELD = {f"G{i}" for i in range(0, THINGS, 2)}


def _pack(name: str, rng: np.random.Generator) -> pa.Table:
    rows = []
    for i in range(THINGS):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(out, "PNG")
        label = "sunflower" if i == 3 else f"thing {i}"
        words = {"captions": [label], "lang": ["en"], "name": label, "category": f"kind {i // 2 % 3}", "label": f"sort {i // 2 % 5}"}
        rows.append({"id": f"{name}/{i}", "image": out.getvalue(), **words, "group": f"G{i}", "source": name, "weight": 1.0, "phash": i})
    return pa.Table.from_pylist(rows)


@pytest.fixture
def small(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("noto", "twemoji", "flat-color-icons"):
        (tmp_path / name).mkdir()
        pq.write_table(_pack(name, rng), tmp_path / name / "pairs.parquet")
        manifest = {"version": "1", "table_sha256": name, "licence": "free", "attribution": "us", "show": True, "rows": THINGS}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(packs, "get", lambda name, **_: tmp_path / name / "pairs.parquet")
    monkeypatch.setattr(packs, "is_cached", lambda name: False)
    monkeypatch.setattr(splits, "committed", lambda: splits.Splits(test={"emoji": frozenset(HELD)}, val={}))
    monkeypatch.setattr("pairwright.models.load.load", lambda name: tiny(0), raising=False)
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_demo_writes_a_page_and_numbers(small, capsys):
    assert demo.main(["--out", str(small / "out"), "--seeds", "2"]) == 0
    said = capsys.readouterr()
    page = (small / "out" / "report.html").read_text()
    found = json.loads((small / "out" / "results.json").read_text())
    assert said.out.strip().endswith(f"page: {(small / 'out' / 'report.html').resolve()}")
    assert "measure new-concept-names" in said.err
    results = {r["suite"]: Result.from_json(r) for r in found["results"]}
    assert set(results) == {s.name for s in demo.SUITES} - {"openclipart-retrieval"}
    named = results["new-concept-names"].metrics["acc5"]
    assert (named.n, named.groups, named.chance) == (2 * len(HELD), len(HELD), 5 / len(HELD))
    assert f"{100 * named.value:.1f}<span" in page
    assert results["icons-flat-color"].metrics["acc10"].n == THINGS
    for section in ("numbers", "words", "pictures", "zero-shot", "plots", "retrieval", "failures", "data", "machine", "commands"):
        assert f'<section id="{section}"' in page
    assert not re.findall(r"https?://", page)
    assert len(page) < 5e6
    assert "“a red apple”" in page
    assert page.count("Apache") >= 1  # the licence of Noto
    assert found["pictures"] == 2 * THINGS


def test_a_second_run_embeds_nothing(small):
    demo.run(small / "out", seeds=1, say=lambda text: None)
    first = json.loads((small / "out" / "results.json").read_text())
    demo.run(small / "out", seeds=1, say=lambda text: None)
    again = json.loads((small / "out" / "results.json").read_text())
    assert all(r["data"]["embedded"] == 0 for r in again["results"])
    assert [r["metrics"] for r in again["results"]] == [r["metrics"] for r in first["results"]]


def test_only_packs_that_may_be_shown_are_shown():
    assert all(packs.PACKS[name].show for name in demo.SHOWN)
    assert demo.shown(["emoji-apple", "stamps", "noto", "flat-color-icons"]) == ["noto"]


def test_without_packs_or_network_it_says_what_to_do(monkeypatch, capsys, tmp_path):
    def fail(name, **_):
        raise ConnectionError(f"could not fetch {name}: check the network")

    monkeypatch.setattr(packs, "get", fail)
    assert demo.main(["--out", str(tmp_path)]) == 2
    assert "demo: could not fetch emojibase: check the network" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
    monkeypatch.undo()
    assert demo.main(["--out", str(tmp_path), "--packs", "noto"]) == 2
    assert "add twemoji to --packs" in capsys.readouterr().err
    assert demo.main(["--out", str(tmp_path), "--packs", "noto,twemoji,nothing"]) == 2
    assert "there is no pack 'nothing'" in capsys.readouterr().err
