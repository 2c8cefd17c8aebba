"""What adapt finds in a user's data: folders, tables, copies, conflicts, unreadable files, and what it refuses."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pairwright.recipes.adapt.alike import groups, look
from pairwright.recipes.adapt.problem import read_problem
from pairwright.recipes.adapt.survey import survey

COLOURS = {"red_ball": "red", "blue_ball": "blue", "green_ball": "green"}


def draw(path: Path, colour: str, k: int) -> None:
    """A ball that differs from image to image in place and size."""
    image = Image.new("RGB", (40, 40), "white")
    ImageDraw.Draw(image).ellipse((2 + 3 * k, 2 + 2 * (k % 3), 16 + 3 * k, 18 + 5 * (k % 4)), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        for k in range(4):
            draw(tmp_path / "data" / name / f"{k}.png", colour, k)
    return tmp_path / "data"


def notes(folder: Path, *args, **more) -> list[str]:
    return survey(read_problem(folder, *args, **more)).problem.notes


def test_folders_are_classes_with_names_in_words(folder):
    p = read_problem(folder)
    assert p.names == ("blue ball", "green ball", "red ball")
    assert p.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert notes(folder)[0] == "12 labelled images of 3 classes, 4 a class."


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables(folder, kind):
    rows = [(f"{n}/{k}.png", n if k else "") for n in COLOURS for k in range(3)]
    line = (lambda p, l: f"{p},{l}") if kind == "csv" else (lambda p, l: json.dumps({"path": p, "label": l or None}))
    text = ("path,label\n" if kind == "csv" else "") + "\n".join(line(*r) for r in rows)
    (folder / f"t.{kind}").write_text(text)
    p = read_problem(folder / f"t.{kind}")
    assert p.names == ("blue ball", "green ball", "red ball")
    assert p.y.tolist() == [-1, 2, 2, -1, 0, 0, -1, 1, 1]
    assert any("3 images have no label" in n for n in survey(p).problem.notes)


def test_names_only(folder):
    p = read_problem(folder, ["cat", "dog"])
    assert p.names == ("cat", "dog")
    assert not p.labelled_N.any()
    assert notes(folder, ["cat", "dog"]) == ["12 images without labels, and the names of 2 classes."]


def test_splits_named_test_are_kept_apart_and_their_copies_of_learned_images_left_out(folder):
    two = folder.parent / "two"
    shutil.copytree(folder, two / "train")
    for k in range(4, 8):
        draw(two / "test" / "red_ball" / f"{k}.png", "red", k)
    p = read_problem(two)
    assert int(p.test_N.sum()) == 4
    assert len(p.names) == 3
    assert any("4 images are marked as test" in n for n in survey(p).problem.notes)
    shutil.copy(folder / "red_ball" / "1.png", two / "test" / "red_ball" / "copy.png")
    seen = survey(read_problem(two)).problem
    assert "test/red_ball/copy.png" not in seen.ids
    assert int(seen.test_N.sum()) == 4
    assert seen.notes[-1].startswith("1 test image is a copy of images that are learned from")


def test_a_class_with_no_sample_is_known_by_its_name(folder):
    (folder / "yellow_ball").mkdir()
    p = read_problem(folder)
    assert p.names[-1] == "yellow ball"
    assert "0 to 4 (in the middle 4) a class" in notes(folder)[0]
    assert read_problem(folder, ["red ball", "blue ball", "green ball", "cube"]).names[-1] == "cube"


def test_labels_that_were_not_named_are_refused_with_the_nearest(folder):
    with pytest.raises(ValueError, match=r"'green ball' \(4 images\).*did you mean 'greenball'"):
        read_problem(folder, ["red ball", "blue ball", "greenball"])


def test_refusals(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        read_problem(tmp_path / "empty")
    shutil.copytree(folder / "red_ball", tmp_path / "one" / "red_ball")
    with pytest.raises(ValueError, match="all labels are the same"):
        read_problem(tmp_path / "one")
    with pytest.raises(ValueError, match="--labels"):
        read_problem(folder / "red_ball")
    with pytest.raises(ValueError, match="need labels to learn from"):
        read_problem(folder / "red_ball", ["a", "b"], multi_label=True)
    with pytest.raises(FileNotFoundError):
        read_problem(tmp_path / "nowhere")


def test_corrupt_images_are_skipped_counted_and_listed(folder):
    (folder / "red_ball" / "0.png").write_bytes(b"no picture")
    seen = survey(read_problem(folder))
    assert len(seen.problem.ids) == 11
    assert list(seen.problem.skipped) == ["red_ball/0.png"]
    assert any("1 file could not be read (red_ball/0.png" in n for n in seen.problem.notes)
    for p in folder.rglob("*.png"):
        p.write_bytes(b"x")
    with pytest.raises(ValueError, match="none of the 12 images"):
        survey(read_problem(folder))


def test_copies_share_a_group_and_colours_do_not(folder):
    shutil.copy(folder / "red_ball" / "1.png", folder / "red_ball" / "copy.png")
    near = Image.open(folder / "blue_ball" / "2.png").convert("RGB")
    near.save(folder / "blue_ball" / "near.jpg", quality=88)
    seen = survey(read_problem(folder))
    group = dict(zip(seen.problem.ids, seen.group_N, strict=True))
    assert group["red_ball/copy.png"] == group["red_ball/1.png"]
    assert group["blue_ball/near.jpg"] == group["blue_ball/2.png"]
    assert len(set(seen.group_N)) == 12
    assert any(n.startswith("2 images are copies") for n in seen.problem.notes)


def test_one_picture_under_two_labels_is_left_out_and_reported(folder):
    shutil.copy(folder / "red_ball" / "1.png", folder / "blue_ball" / "also.png")
    seen = survey(read_problem(folder))
    assert seen.conflicts == [["blue_ball/also.png", "red_ball/1.png"]]
    assert len(seen.problem.ids) == 11
    assert any("same picture lies in several classes (blue_ball/also.png" in n for n in seen.problem.notes)
    several = survey(read_problem(folder, multi_label=True)).problem
    assert int(several.y.sum(1).max()) == 2
    assert len(several.ids) == 12


def test_several_classes_from_columns(folder):
    (folder / "t.csv").write_text("path,labels\nred_ball/0.png,red|round\nblue_ball/0.png,round\ngreen_ball/0.png,\n")
    p = read_problem(folder / "t.csv", multi_label=True)
    assert p.names == ("red", "round")
    assert p.y.tolist() == [[1, 1], [0, 1], [-1, -1]]
    (folder / "t.jsonl").write_text('{"path": "red_ball/0.png", "tags": ["red", "round"]}\n{"path": "blue_ball/0.png", "tags": []}\n')
    assert read_problem(folder / "t.jsonl", multi_label=True).y.tolist() == [[1, 1], [-1, -1]]
    with pytest.raises(ValueError, match="--multi-label"):
        read_problem(folder / "t.csv")


def test_unequal_classes_and_more_classes_than_samples_are_said(folder):
    for k in range(1, 4):
        (folder / "red_ball" / f"{k}.png").unlink()
    for k in range(4, 8):
        draw(folder / "blue_ball" / f"{k}.png", "blue", k)
    assert any("unequal" in n and "8 times" in n for n in notes(folder))
    many = read_problem(folder, [*(c.replace("_", " ") for c in COLOURS), *(f"thing {i}" for i in range(20))])
    assert any("more classes (23) than labelled images" in n for n in survey(many).problem.notes)


def test_groups_join_through_others():
    base = np.zeros((40, 40, 3), np.uint8)
    base[5:30, 8:20] = 255
    pictures = [Image.fromarray(base), Image.fromarray(base), Image.fromarray(255 - base)]
    raw = []
    for p in pictures:
        out = io.BytesIO()
        p.save(out, "PNG")
        raw.append(out.getvalue())
    assert groups([look(r) for r in raw]) == [0, 0, 2]
    assert groups([]) == []
