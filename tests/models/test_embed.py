"""`embed`: every kind of input, bad pictures, order, ids and fingerprint."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pairwright.data.images import BadImage
from pairwright.models.embed import embed
from pairwright.models.tiny import tiny


@pytest.fixture(scope="module")
def model():
    return tiny(0, width=32, dim=24)


def picture(i: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for i in range(5):
        picture(i).save(tmp_path / ("sub" if i % 2 else ".") / f"{i}.png")
    return tmp_path


def test_folder_paths_bytes_and_pictures_give_the_same_rows_as_one_by_one(model, folder: Path) -> None:
    want = torch.cat([model.image(model.preprocess(picture(i))[None]).z_BD for i in range(5)]).detach()
    paths = [folder / ("sub" if i % 2 else ".") / f"{i}.png" for i in range(5)]
    raw = []
    for i in range(5):
        buffer = io.BytesIO()
        picture(i).save(buffer, "PNG")
        raw.append(buffer.getvalue())
    for images in (paths, [str(p) for p in paths], raw, [picture(i) for i in range(5)], (picture(i) for i in range(5))):
        f = embed(model, images=images, batch_size=2)
        torch.testing.assert_close(f.z, want, atol=1e-5, rtol=0)
    whole = embed(model, images=folder, batch_size=3)
    assert {Path(i).name for i in whole.ids} == {f"{i}.png" for i in range(5)}
    for row, name in enumerate(whole.ids):
        torch.testing.assert_close(whole.z[row], want[int(Path(name).stem)], atol=1e-5, rtol=0)
    assert embed(model, images=paths).ids == tuple(map(str, paths))
    assert embed(model, images=picture(0)).ids == ("0",)
    assert embed(model, images=paths[2]).ids == (str(paths[2]),)
    assert whole.encoder == model.fingerprint
    assert not whole.z.requires_grad


def test_texts_come_back_in_order_whatever_their_length(model) -> None:
    texts = ["a", "a very long text about a red apple and a green one", "two words", "", "a"]
    f = embed(model, texts=texts, batch_size=2)
    want = model.text(model.tokenizer(texts)).z_BD.detach()
    torch.testing.assert_close(f.z, want, atol=1e-6, rtol=0)
    assert f.ids == tuple(texts)
    assert embed(model, texts="a").z.shape == (1, 24)


def test_bad_pictures_are_skipped_counted_and_listed(model, folder: Path) -> None:
    (folder / "text.png").write_text("not a picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:200])
    skipped: dict[str, str] = {}
    with pytest.warns(UserWarning, match="2 of 7 images were skipped"):
        f = embed(model, images=folder, skipped=skipped)
    assert len(f) == 5
    assert set(skipped) == {str(folder / "text.png"), str(folder / "cut.png")}
    with pytest.raises(BadImage, match=r"(text|cut)\.png"):
        embed(model, images=folder, skip_bad=False)
    with pytest.raises(ValueError, match="none of the 1 images could be read"):
        embed(model, images=[folder / "text.png"])
    with pytest.warns(UserWarning, match="1 of 2"):
        embed(model, images=[folder / "absent.png", folder / "0.png"])


def test_progress_is_told_and_training_mode_comes_back(model, folder: Path) -> None:
    told = []
    model.train()
    embed(model, images=folder, batch_size=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert model.training
    model.eval()


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        ({}, "either"),
        ({"images": [], "texts": []}, "either"),
        ({"images": []}, "empty"),
        ({"texts": []}, "empty"),
        ({"texts": [3]}, "strings, got a int"),
        ({"texts": ["a"], "batch_size": 0}, "at least 1"),
    ],
)
def test_bad_calls(model, ask: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        embed(model, **ask)


def test_missing_folder_and_empty_folder(model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        embed(model, images=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no images"):
        embed(model, images=tmp_path)


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_other_precisions_give_close_rows_that_go_with_the_same_texts(model, precision: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path))
    pictures = [picture(i) for i in range(9)]
    plain, other = embed(model, images=pictures), embed(model, images=pictures, precision=precision, batch_size=4)
    assert (plain.z * other.z).sum(1).min() > 0.999
    assert other.encoder == plain.encoder == model.fingerprint
    assert plain.precision == "torch-fp32"
    assert other.precision.startswith("torch-bf16" if precision == "bf16" else "torch-fp32")  # so few are not worth a choice
    assert other.ids == plain.ids
    assert next(model.parameters()).dtype == torch.float32


def test_unknown_precision_is_refused(model) -> None:
    with pytest.raises(ValueError, match="unknown precision 'half': choose one of auto, fp32, bf16, int8"):
        embed(model, texts=["a"], precision="half")


def test_texts_are_computed_by_the_model_itself_whatever_the_precision(model) -> None:
    assert torch.equal(embed(model, texts=["a red apple"], precision="bf16").z, embed(model, texts=["a red apple"]).z)
