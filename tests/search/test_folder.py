"""A folder index: the answers equal embedding everything anew, and only what changed is embedded again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from pairwright.data.images import BadImage
from pairwright.models.embed import embed
from pairwright.models.tiny import tiny
from pairwright.search.folder import FolderIndex
from pairwright.search.sheet import write_sheet


def draw(path: Path, colour: str, box: tuple[int, int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (40, 40), "white")
    ImageDraw.Draw(image).rectangle(box, fill=colour)
    image.save(path)


@pytest.fixture(scope="module")
def model():
    return tiny(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    draw(root / "a.png", "red", (0, 0, 20, 20))
    draw(root / "b.png", "blue", (20, 0, 40, 20))
    draw(root / "sub" / "c.png", "green", (0, 20, 40, 40))
    for path in root.rglob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return root


@pytest.fixture
def index(folder: Path, model, tmp_path: Path) -> FolderIndex:
    return FolderIndex(folder, model, cache=tmp_path / "cache")


def fresh(folder: Path, model, tmp_path: Path) -> FolderIndex:
    """What embedding the whole folder from nothing gives."""
    other = FolderIndex(folder, model, cache=tmp_path / "elsewhere")
    other.refresh(rebuild=True)
    return other


def same(a: FolderIndex, b: FolderIndex) -> None:
    assert sorted(a.index.ids) == sorted(b.index.ids)
    for i in a.index.ids:
        # batches of another size may differ in the last bits
        torch.testing.assert_close(a.index.z_ND[a.index.ids.index(i)], b.index.z_ND[b.index.ids.index(i)], atol=1e-6, rtol=0)


def test_search_equals_a_matrix_product(index: FolderIndex, folder: Path, model) -> None:
    changes = index.refresh()
    assert (changes.added, changes.embedded) == (("a.png", "b.png", "sub/c.png"), 3)
    z = embed(model, images=folder)
    q = embed(model, texts=["a red square"])
    scores = (q.z @ z.z.T)[0]
    hits = index.search_text("a red square", 2)
    assert [h.score for h in hits] == pytest.approx(scores.sort(descending=True).values[:2].tolist(), abs=1e-6)
    assert [str(h.path) for h in hits] == [z.ids[i] for i in scores.argsort(descending=True)[:2].tolist()]
    assert index.search_image(folder / "b.png", 1)[0].path == folder / "b.png"
    assert index.search_image(folder / "b.png", 1)[0].score == pytest.approx(1.0, abs=1e-5)


def test_embeds_only_what_is_new(index: FolderIndex, folder: Path, model, tmp_path: Path) -> None:
    index.refresh()
    again = FolderIndex(folder, model, cache=tmp_path / "cache")
    changes = again.refresh()
    assert (changes.embedded, bool(changes), str(changes)) == (0, False, "nothing has changed")
    same(again, index)

    draw(folder / "d.png", "black", (0, 0, 9, 9))
    draw(folder / "a.png", "yellow", (0, 0, 20, 20))
    (folder / "b.png").unlink()
    changes = again.refresh()
    assert (changes.added, changes.changed, changes.removed, changes.embedded) == (("d.png",), ("a.png",), ("b.png",), 2)
    assert str(changes) == "1 new, 1 changed, 1 gone"
    same(again, fresh(folder, model, tmp_path))
    assert all(h.path != folder / "b.png" for h in again.search_text("blue", 10))


def test_a_touched_a_moved_and_a_copied_file_cost_no_embedding(index: FolderIndex, folder: Path, model, tmp_path: Path) -> None:
    index.refresh()
    os.utime(folder / "a.png")
    (folder / "b.png").rename(folder / "moved.png")
    shutil.copy(folder / "sub" / "c.png", folder / "copy.png")
    changes = index.refresh()
    assert (changes.added, changes.changed, changes.removed, changes.embedded) == (("copy.png", "moved.png"), (), ("b.png",), 0)
    same(index, fresh(folder, model, tmp_path))


def test_a_change_that_keeps_size_and_time_right_after_writing_is_noticed(index: FolderIndex, folder: Path, model, tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (32, 32), (200, 30, 30)), Image.new("RGB", (32, 32), (30, 30, 200))
    red.save(folder / "x.bmp")
    stat = (folder / "x.bmp").stat()
    index.refresh()
    blue.save(folder / "x.bmp")
    os.utime(folder / "x.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (folder / "x.bmp").stat().st_size == stat.st_size
    assert index.refresh().changed == ("x.bmp",)
    same(index, fresh(folder, model, tmp_path))


def test_bad_files_are_listed_remembered_and_tried_again(index: FolderIndex, folder: Path, model, tmp_path: Path) -> None:
    (folder / "text.png").write_text("not a picture")
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff\xe0 half")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    first = index.refresh()
    assert {Path(p).name for p in first.skipped} == {"text.png", "half.jpg", "dangling.png"}
    assert first.embedded == 5
    assert len(index) == 3
    again = FolderIndex(folder, model, cache=tmp_path / "cache").refresh()
    assert (again.embedded, set(again.skipped)) == (0, set(first.skipped))
    with pytest.raises(BadImage, match=r"half.jpg|text.png|dangling.png"):
        index.refresh(strict=True)
    draw(folder / "text.png", "red", (1, 1, 9, 9))
    assert index.refresh().changed == ("text.png",)
    same(index, fresh(folder, model, tmp_path))


def test_nothing_to_search(tmp_path: Path, model) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        FolderIndex(tmp_path / "no", model)
    file = tmp_path / "a.txt"
    file.write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        FolderIndex(file, model)
    with pytest.raises(ValueError, match="no images"):
        FolderIndex(tmp_path, model, cache=tmp_path / "c").refresh()
    (tmp_path / "a.png").write_text("x")
    index = FolderIndex(tmp_path, model, cache=tmp_path / "c")
    with pytest.raises(ValueError, match="none of the 1 images"):
        index.refresh()
    with pytest.raises(ValueError, match="refresh"):
        index.search_text("red")


def test_a_damaged_cache_is_made_again(index: FolderIndex, folder: Path, model, tmp_path: Path) -> None:
    index.refresh()
    index.file.write_bytes(b"garbage")
    assert index.refresh().embedded == 3
    again = FolderIndex(folder, model, cache=tmp_path / "cache")
    assert again.refresh().embedded == 0
    same(again, index)


def test_each_model_has_its_own_index(index: FolderIndex, folder: Path, tmp_path: Path) -> None:
    index.refresh()
    other = FolderIndex(folder, tiny(1), cache=tmp_path / "cache")
    assert other.file != index.file
    assert other.refresh().embedded == 3


def test_the_contact_sheet_holds_its_pictures_and_escapes_names(index: FolderIndex, folder: Path, tmp_path: Path) -> None:
    draw(folder / "<script>.png", "red", (0, 0, 5, 5))
    index.refresh()
    hits = index.search_text("red", 10)
    (folder / "b.png").unlink()
    write_sheet(tmp_path / "hits.html", 'red & "blue"', hits)
    page = (tmp_path / "hits.html").read_text()
    assert page.count("<figure>") == 4
    assert page.count("data:image/webp;base64,") == 3
    assert "<script" not in page
    assert "&lt;script&gt;.png" in page
    assert "<h1>red &amp; &quot;blue&quot;</h1>" in page
    assert "http" not in page
