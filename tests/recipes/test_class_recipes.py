"""Recipes for a folder per class: each runs from the folder to a model that classifies, and keeps its own promise."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pairwright.cli import recipes
from pairwright.core import io
from pairwright.heads.persist import load_head
from pairwright.models.embed import embed
from pairwright.models.load import load, save
from pairwright.models.tiny import tiny
from pairwright.recipes._class_folder import ClassesConfig, open_classes
from pairwright.recipes._fine_tune import class_ids

COLOURS = {"dark_red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}
NAMES = ["blue", "dark red", "green"]
RECIPES = ("clip_lora", "clip_svd", "flyp", "lp_ft", "wise_ft")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """24 plain pictures in three class folders, and two tiny models, one with a transformer and one with a convolutional image tower."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "data" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 40, (20, 24, 3), np.uint8) + np.array(colour, np.uint8) // 2
            Image.fromarray(pixels).save(root / "data" / name / f"{i}.png")
    for kind in ("vit", "conv"):
        save(tiny(0, image=kind, size=16, width=32, dim=32, layers=1, patch=8, vocab=256, context=16), root / kind)
    return root


def go(root, name, out, kind="vit", **more):
    run, config = recipes.load(name)
    common = {"model": f"local-dir:{root / kind}", "batch": 12, "steps": 3, "lr": 1e-3, "val": 0.3, "workers": 0, "augment": 0.1}
    config = replace(config, **{**common, **more})
    return run(str(root / "data"), out, config=config)


@pytest.mark.parametrize("name", RECIPES)
def test_it_writes_a_model_that_loads_and_says_what_it_did(root, tmp_path, name):
    kind = "conv" if name == "clip_lora" else "vit"
    folder = go(root, name, tmp_path / "run", kind=kind)
    facts = io.read_json(tmp_path / "run" / "classes.json")
    assert facts["names"] == NAMES
    assert facts["steps"] == 3
    assert facts["train"] + facts["val"] == 24
    assert 0 <= facts["val_accuracy"] <= 1
    model, start = load(f"local-dir:{folder}"), load(f"local-dir:{root / kind}").state_dict()
    assert list(model.state_dict()) == list(start)
    moved = {n.split(".")[1] for n, v in model.state_dict().items() if n.startswith("towers.") and not torch.equal(v, start[n])}
    assert moved == ({"image"} if name in ("lp_ft", "wise_ft") else {"image", "text"})
    if name in ("lp_ft", "wise_ft"):
        z = embed(model, images=str(root / "data"))
        assert load_head(tmp_path / "run" / "head.safetensors").logits(z).shape == (24, 3)


def test_enough_steps_learn_the_classes(root, tmp_path):
    go(root, "wise_ft", tmp_path / "run", steps=40)
    facts = io.read_json(tmp_path / "run" / "classes.json")
    assert facts["val_accuracy"] == 1.0
    curve = dict(map(tuple, facts["alpha_curve"]))
    assert len(curve) == 11
    assert curve[facts["alpha"]] == max(curve.values())


def test_wise_ft_at_alpha_zero_is_the_start_and_lp_ft_starts_at_its_probe(root, tmp_path):
    start = load(f"local-dir:{root / 'vit'}").state_dict()
    model = load(f"local-dir:{go(root, 'wise_ft', tmp_path / 'a', alpha=0.0)}")
    assert all(torch.equal(v, start[n]) for n, v in model.state_dict().items())
    go(root, "lp_ft", tmp_path / "b", steps=1, lr=0.0)
    head, (probe, _) = load_head(tmp_path / "b" / "head.safetensors"), io.load_tensors(tmp_path / "b" / "probe.safetensors")
    assert torch.equal(head.weight_, probe["weight"])


def test_folders_become_classes_and_test_rows_stay_out(root, tmp_path):
    config = ClassesConfig(model=f"local-dir:{root / 'vit'}", workers=0, augment=0.0, batch=6)
    classes = open_classes(str(root / "data"), config)
    assert (list(classes.names), classes.shots, len(classes.val)) == (NAMES, 8.0, 0)
    batch = next(iter(classes.labelled(text=True).batches(0)))
    assert batch.inputs["text"].shape[0] == 3
    colour = batch.inputs["image"].mean((2, 3)).argmax(1)  # red, green, blue channels
    assert [{0: 1, 1: 2, 2: 0}[c] for c in colour.tolist()] == batch.group_B.tolist()
    feats = classes.features("train")
    assert [f.split("/")[-2].replace("_", " ") for f in feats.ids] == [NAMES[c] for c in feats.y.tolist()]
    split = tmp_path / "split"
    for part in ("train", "val", "test"):
        for name in COLOURS:
            shutil.copytree(root / "data" / name, split / part / name)
    parts = open_classes(str(split), config)
    assert len(parts.train) == len(parts.val) == 24


def test_what_cannot_be_trained_says_so(root, tmp_path):
    with pytest.raises(ValueError, match="--data"):
        open_classes(None, ClassesConfig())
    shutil.copytree(root / "data" / "blue", tmp_path / "one" / "blue")
    with pytest.raises(ValueError, match="at least two"):
        open_classes(str(tmp_path / "one"), ClassesConfig(model=f"local-dir:{root / 'vit'}"))
    with pytest.raises(ValueError, match="no labels"):
        open_classes(str(root / "data" / "blue"), ClassesConfig())


def test_a_step_sees_one_template_of_a_list_and_the_same_one_if_resumed(root):
    config = ClassesConfig(model=f"local-dir:{root / 'vit'}", workers=0, batch=6, template=["a {}", "the {}", "one {} more"])
    classes = open_classes(str(root / "data"), config)
    wanted = [class_ids(classes.model, classes.names, t) for t in config.template]
    source = classes.labelled(text=True)
    seen = [b.inputs["text"] for b in itertools.islice(source.batches(0), 12)]
    which = [next(i for i, ids in enumerate(wanted) if torch.equal(ids, s)) for s in seen]
    assert set(which) == {0, 1, 2}
    assert all(torch.equal(b.inputs["text"], s) for b, s in zip(source.batches(5), seen[5:], strict=False))
