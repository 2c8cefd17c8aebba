"""The recipe of the shipped model, from end to end on a few drawn icons in place of the packs."""

from __future__ import annotations

import io
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageDraw

from pairwright.core.numerics import generator, seed_of, unit
from pairwright.data.packs.phash import perceptual_hash
from pairwright.models.load import load
from pairwright.recipes import _icon_pairs, sprout
from pairwright.recipes._icon_pairs import TEMPLATES, IconPairs, Sentences, Teacher, training_table
from pairwright.train import checkpoint

COLOURS = ("red", "blue", "green", "orange", "purple", "brown", "pink", "black")


def icon(colour: str, i: int) -> Image.Image:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((3 + i % 5, 4, 30 + i % 3, 20 + i), fill=colour)
    return image


def pack(name: str) -> pa.Table:
    rows = []
    for c, colour in enumerate(COLOURS):
        for i in range(2):
            png, picture = io.BytesIO(), icon(colour, i)
            picture.save(png, "PNG")
            captions = [f"{colour} thing", colour, "ein Ding"]
            rows.append(
                {
                    "id": f"{name}/{colour}{i}", "image": png.getvalue(), "captions": captions, "lang": ["en", "en", "de"],
                    "name": f"{colour} thing", "group": f"x{c}", "category": "c", "label": "l", "source": name, "weight": 1.0 + i,
                    "phash": perceptual_hash(picture),
                }
            )  # fmt: skip
    types = {"weight": pa.float32(), "phash": pa.uint64()}
    columns = {k: pa.array([r[k] for r in rows], types.get(k)) for k in rows[0]}
    return pa.table(columns)


def fake_teacher(texts: list[str]) -> torch.Tensor:
    return unit(torch.stack([torch.randn(12, generator=generator("teacher", t)) for t in texts]))


@pytest.fixture
def packs(monkeypatch, tmp_path):
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))
    words = pa.table({"captions": pa.array([["Ding", "thing"], ["circle", "dot"]])})
    monkeypatch.setattr(_icon_pairs.packs, "load", lambda name, columns=None: words if name == "wordnet" else pack(name))
    monkeypatch.setattr(_icon_pairs, "assign", with_split)
    monkeypatch.setattr(sprout, "sentence_encoder", lambda folder: fake_teacher)
    monkeypatch.setattr(sprout._sprout_card, "write_card", lambda folder, out: (folder / "README.md").write_text("measured"))


def with_split(table: pa.Table) -> pa.Table:
    held = [row.startswith(("fxemoji/", "noto/pink")) for row in table["id"].to_pylist()]
    return table.append_column("split", pa.array(["val" if h else "train" for h in held]))


def source(tmp_path, seed=0, batch_size=8) -> IconPairs:
    table = training_table({"mdi": 1.0, "tabler": 2.0})
    texts = _icon_pairs.texts_of(table)
    teacher = Teacher.build(texts, fake_teacher, "fake", tmp_path)
    tokens = lambda said: torch.tensor([[seed_of(s) % 1000] for s in said])
    cache = sprout._cache(table, 36)
    return IconPairs(table, cache, tokens, teacher, batch_size=batch_size, size=32, normalise=lambda x: x, seed=seed)


def test_rows_are_english_and_weighted_by_row_and_pack(packs):
    table = training_table({"mdi": 1.0, "tabler": 2.0})
    assert all("ein Ding" not in c for c in table["captions"].to_pylist())
    weight = dict(zip(table["id"].to_pylist(), table["weight"].to_pylist()))
    assert weight["mdi/red0"] == 1.0
    assert weight["tabler/red1"] == 4.0


def test_a_batch_is_a_pure_function_of_the_step(packs, tmp_path):
    stream = source(tmp_path).batches(0)
    ahead = [next(stream) for _ in range(9)]
    late = next(source(tmp_path).batches(8))
    for view in ("image", "text"):
        assert torch.equal(late.inputs[view], ahead[8].inputs[view])
    assert torch.equal(late.stored["teacher.text"], ahead[8].stored["teacher.text"])
    assert not torch.equal(ahead[0].inputs["image"], ahead[4].inputs["image"])


def test_same_names_are_positives_of_each_other(packs, tmp_path):
    batch = next(source(tmp_path, batch_size=32).batches(0))
    sizes = Counter(batch.group_B.tolist())
    assert 1 < len(sizes) <= len(COLOURS)
    assert max(sizes.values()) > 1


def test_captions_come_as_often_as_said_and_do_not_depend_on_the_batch(packs, tmp_path):
    pairs = source(tmp_path)
    n = 4000
    ids = torch.arange(n)
    said, shown = pairs.captions([["red thing", "crimson"]] * n, ids, epoch=0)
    share = Counter(said)
    assert share["crimson"] / n == pytest.approx(0.2, abs=0.03)
    bare = [w in ("red thing", "crimson", "red thing, crimson") for w in shown]
    # half of the texts go through a template, and one template in eight is the text itself
    assert np.mean(bare) == pytest.approx(0.5 + 0.5 / len(TEMPLATES), abs=0.03)
    again = pairs.captions([["red thing", "crimson"]] * 10, ids[1000:1010], epoch=0)
    assert again == (said[1000:1010], shown[1000:1010])


def test_the_teacher_speaks_of_the_text_behind_the_template(packs, tmp_path):
    teacher = Teacher.build(["a", "b"], fake_teacher, "fake", tmp_path)
    torch.testing.assert_close(teacher(["b", "a", "b"]), fake_teacher(["b", "a", "b"]), atol=2e-3, rtol=0)
    same = Teacher.build(["a", "b"], lambda texts: pytest.fail("the stored rows should do"), "fake", tmp_path)
    assert torch.equal(same(["a"]), teacher(["a"]))


def test_sentences_resume_at_any_step(packs, tmp_path):
    texts = [f"word {i}" for i in range(50)]
    teacher = Teacher.build(texts, fake_teacher, "fake", tmp_path)
    make = lambda: Sentences(texts, lambda said: torch.tensor([seed_of(s) % 997 for s in said]), teacher, batch_size=8)
    stream = make().batches(0)
    ahead = [next(stream) for _ in range(15)]
    assert torch.equal(next(make().batches(14)).inputs["text"], ahead[14].inputs["text"])


def test_the_whole_recipe_writes_a_small_model_that_loads(packs, tmp_path):
    config = sprout.SproutConfig(
        image="test_resnet", size=32, cached=36, small=24, dim=16, width=32, heads=2, layers=1, vocab=300, words_steps=3, words_batch=4,
        small_steps=3, steps=3, batch=8, validate_every=3, save_every=2,
    )  # fmt: skip
    folder = sprout.sprout(None, tmp_path / "run", config=config)
    model = load(str(folder))
    final, _ = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    with torch.no_grad():
        z = model.image(torch.zeros(1, 3, 32, 32)).z_BD
    assert z.shape == (1, 16)
    stored = final["ema"]["towers.text.token_embedding.weight"]
    torch.testing.assert_close(model.towers["text"].token_embedding.weight.detach(), stored, atol=1e-3, rtol=1e-2)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any("val_style_top1" in row for row in log)
    assert [s["name"] for s in json.loads((tmp_path / "run" / "run.json").read_text())["stages"]] == ["words", "small", "full"]


def test_other_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match="recipe `clip`"):
        sprout.sprout("somewhere", tmp_path)
