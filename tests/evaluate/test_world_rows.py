"""The generated world as suites ask it: labels are the truth, looks differ in pixels alone, learning and asking share no concept."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pairwright.data.world import vocabulary as V
from pairwright.evaluate.protocol import open_rows
from pairwright.evaluate.shots import halves
from pairwright.evaluate.world_rows import LOOKS, is_world, things
from pairwright.suites.table import SUITES, few_shot

NATURAL, DUSK = (things(style, 120)[0] for style in ("natural", "dusk"))


def test_looks_show_the_same_things_in_other_pixels():
    for column in ("name", "label", "category", "captions", "group"):
        assert NATURAL[column].to_pylist() == DUSK[column].to_pylist()
    pixels = lambda t: np.array([np.asarray(Image.open(io.BytesIO(p))) for p in t["image"].to_pylist()], dtype=float)
    assert pixels(NATURAL).shape == (120, 32, 32, 3)
    assert pixels(DUSK).mean() < 0.7 * pixels(NATURAL).mean()


def test_a_thing_is_named_by_its_colour_and_labelled_by_its_shape():
    for row in NATURAL.to_pylist():
        assert row["name"] == f"{row['category']} {row['label']}"
        assert row["label"] in V.SHAPES
        assert row["category"] in V.COLOURS


def test_every_look_has_a_suite_and_no_concept_is_on_both_sides(monkeypatch):
    suites = [s for s in SUITES if s.task == "few_shot" and is_world(s.data[0])]
    assert {s.data[0] for s in suites} == set(LOOKS)
    monkeypatch.setattr("pairwright.evaluate.world_rows.things", lambda style: things(style, 400))
    asked, _, about = open_rows(few_shot("world-blocky"))
    q = few_shot("world-blocky").ask(asked)[""]
    learn = halves(q.label_N.tolist(), q.group_N)
    group = np.array(q.group_N)
    assert not set(group[learn]) & set(group[~learn])
    assert set(q.label_N[learn]) >= set(q.label_N[~learn])
    assert about["packs"]["world-blocky"]["licence"] == "generated"


def test_an_unknown_look_is_refused():
    assert not is_world("world-neon")
    with pytest.raises(ValueError, match="styles are"):
        things("neon", 5)
