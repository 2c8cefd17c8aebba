"""classify, search and embed: the same answers as the library, JSON on stdout, remarks on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pairwright as pw
from pairwright.core.numerics import unit


def test_classify_json_equals_softmax_by_hand(run, pictures: Path, model_name: str) -> None:
    ran = run("classify", pictures, "--labels", "red circle, blue  circle,green", "--model", model_name, "--top", 2, "--json")
    assert (ran.code, ran.err) == (0, "")
    model = pw.load(model_name)
    images = pw.embed(model, images=pictures)
    text = pw.embed(model, texts=[f"a photo of a {name}." for name in ("red circle", "blue circle", "green")])
    p = (model.scale.detach() * images.z @ text.z.T).double().softmax(-1)
    assert [a["path"] for a in ran.json["answers"]] == list(images.ids)
    for row, answer in zip(p, ran.json["answers"], strict=True):
        assert len(answer["labels"]) == 2
        for got, c in zip(answer["labels"], row.argsort(descending=True)[:2].tolist(), strict=True):
            assert got["label"] == ["red circle", "blue circle", "green"][c]
            assert got["probability"] == pytest.approx(float(row[c]), abs=1e-3)


def test_classify_with_templates_and_a_labels_file(run, pictures: Path, model_name: str, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\ufeffred\nblue\n\n", encoding="utf-8")
    ran = run(
        "classify",
        pictures / "red.png",
        "--labels-file",
        names,
        "--template",
        "a {} thing",
        "--template",
        "the {}",
        "--model",
        model_name,
        "--json",
    )
    assert ran.code == 0
    model = pw.load(model_name)
    z = pw.embed(model, images=[pictures / "red.png"]).z
    prompts = pw.embed(model, texts=["a red thing", "the red", "a blue thing", "the blue"]).z
    W = unit(prompts.view(2, 2, -1).mean(1))
    p = (model.scale.detach() * z @ W.T).softmax(-1)[0]
    assert {a["label"]: a["probability"] for a in ran.json["answers"][0]["labels"]} == pytest.approx(
        {"red": float(p[0]), "blue": float(p[1])}, abs=1e-3
    )


def test_classify_table(run, pictures: Path, model_name: str) -> None:
    ran = run("classify", pictures, "--labels", "red,blue", "--model", model_name)
    lines = ran.out.splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["image", "label", "p", "#2", "p"]
    assert [line.split()[0] for line in lines[1:]] == [
        str(p) for p in sorted(pictures.rglob("*.png"), key=lambda p: (p.parent != pictures, p))
    ]
    assert all({"red", "blue"} < set(line.split()) for line in lines[1:])


def test_bad_pictures_are_listed_and_strict_stops(run, pictures: Path, model_name: str) -> None:
    (pictures / "text.png").write_text("no picture")
    ran = run("classify", pictures, "--labels", "a,b", "--model", model_name, "--json")
    assert ran.code == 0
    assert len(ran.json["answers"]) == 3
    assert list(ran.json["skipped"]) == [str(pictures / "text.png")]
    assert ran.err.startswith(f"skipped {pictures / 'text.png'}: not an image")
    ran = run("classify", pictures, "--labels", "a,b", "--model", model_name, "--strict")
    assert (ran.code, ran.out) == (2, "")
    assert "text.png" in ran.err


def test_search_by_words_and_by_image(run, pictures: Path, model_name: str, tmp_path: Path) -> None:
    ran = run("search", pictures, "a red", "circle", "--model", model_name, "--json", "--top", 2)
    assert ran.code == 0
    assert ran.err == f"{pictures}: 3 new\n"
    assert ran.json["query"] == "a red circle"
    model = pw.load(model_name)
    images, query = pw.embed(model, images=pictures), pw.embed(model, texts=["a red circle"])
    order = (query.z @ images.z.T)[0].argsort(descending=True)[:2]
    assert [h["path"] for h in ran.json["hits"]] == [images.ids[i] for i in order]
    ran = run("search", pictures, "--image", pictures / "blue.png", "--model", model_name, "--html", tmp_path / "hits.html")
    assert ran.out.splitlines()[1].endswith("blue.png")
    assert "new" not in ran.err
    assert (tmp_path / "hits.html").read_text().count("<img") == 3
    (pictures / "blue.png").unlink()
    assert run("search", pictures, "red", "--model", model_name).err == f"{pictures}: 1 gone\n"


def test_embed_writes_features(run, pictures: Path, model_name: str, tmp_path: Path) -> None:
    out = tmp_path / "f.safetensors"
    ran = run("embed", pictures, "--out", out, "--model", model_name, "--json")
    features = pw.Features.load(out)
    model = pw.load(model_name)
    assert ran.json == {"out": str(out), "rows": 3, "width": 64, "encoder": model.fingerprint, "precision": "torch-fp32", "skipped": {}}
    assert features.encoder == model.fingerprint
    torch.testing.assert_close(features.z, pw.embed(model, images=pictures).z)
