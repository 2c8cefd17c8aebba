"""Training on one's own pairs, from end to end on a folder of drawn pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from pairwright.models.load import load, save
from pairwright.models.tiny import tiny
from pairwright.recipes.clip import ClipConfig, clip, split_by_group, with_captions

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """36 plain pictures in three class folders, one of them broken, and a tiny model."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "data" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 40, (20, 24, 3), np.uint8) + np.array(colour, np.uint8) // 2
            Image.fromarray(pixels).save(root / "data" / name / f"{i}.png")
    (root / "data" / "red" / "broken.png").write_bytes(b"not a picture")
    save(tiny(0, size=16, width=32, dim=32, layers=1, vocab=256, context=16), root / "model")
    return root


def config(root, **more) -> ClipConfig:
    base = ClipConfig(model=f"local-dir:{root / 'model'}", batch=12, steps=80, lr=1e-3, val=0.25, workers=0, validate_every=40, augment=0.1)
    return replace(base, **more)


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_it_learns_the_colours_and_writes_a_model_that_loads(pairs, tmp_path, loss):
    folder = clip(str(pairs / "data"), tmp_path / "run", config=config(pairs, loss=loss))
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    checks = [r for r in rows if "val_text_to_image_recall@1" in r]
    assert [r["step"] for r in checks] == [40, 80]
    # pictures of one class share their caption, so a model that tells the classes apart finds all of them
    assert checks[-1]["val_text_to_image_recall@1"] == checks[-1]["val_image_to_text_recall@1"] == 1.0
    model = load(f"local-dir:{folder}")
    assert (model.logit_bias is not None) == (loss == "siglip")
    x = torch.stack([model.preprocess(Image.new("RGB", (20, 20), tuple(c // 2 + 20 for c in COLOURS[k]))) for k in COLOURS])
    with torch.no_grad():
        scores = model.image(x).z_BD @ model.text(model.tokenizer([f"a photo of a {k}" for k in COLOURS])).z_BD.T
    assert scores.argmax(1).tolist() == [0, 1, 2]


def test_a_frozen_tower_keeps_its_bits(pairs, tmp_path):
    before = load(f"local-dir:{pairs / 'model'}").state_dict()
    after = load(f"local-dir:{clip(str(pairs / 'data'), tmp_path / 'r', config=config(pairs, steps=3, freeze='image'))}").state_dict()
    changed = {k.split(".")[1] for k in before if k.startswith("towers.") and not torch.equal(before[k], after[k])}
    assert changed == {"text"}


def test_scratch_forgets_the_weights(pairs, tmp_path):
    before = load(f"local-dir:{pairs / 'model'}").state_dict()
    folder = clip(str(pairs / "data"), tmp_path / "r", config=config(pairs, steps=1, lr=1e-9, scratch=True))
    after = load(f"local-dir:{folder}").state_dict()
    name = next(k for k in before if k.startswith("towers.image") and before[k].ndim == 4)
    assert not torch.allclose(before[name], after[name], atol=1e-3)


def test_groups_stay_on_one_side():
    rows = 200
    table = pa.table({"id": [str(i) for i in range(rows)], "path": ["x"] * rows, "group": [f"g{i // 4}" for i in range(rows)]})
    train, val = split_by_group(table, 0.3, seed=1)
    assert len(train) + len(val) == rows
    assert not set(train["group"].to_pylist()) & set(val["group"].to_pylist())
    assert 0.15 * rows < len(val) < 0.45 * rows
    again = split_by_group(table, 0.3, seed=1)[1]
    assert again["id"].to_pylist() == val["id"].to_pylist()


def test_labels_become_captions_and_neither_is_an_error():
    table = pa.table({"id": ["a"], "path": ["a.png"], "label": ["traffic_light"]})
    assert with_captions(table, "a photo of a {}")["captions"].to_pylist() == [["a photo of a traffic light"]]
    with pytest.raises(ValueError, match="neither captions nor labels"):
        with_captions(pa.table({"id": ["a"], "path": ["a.png"]}), "{}")


def test_no_data_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="--data"):
        clip(None, tmp_path / "r")
