"""Template lists: the shipped files, a user's file, and what is refused."""

from __future__ import annotations

import open_clip
import pytest

from pairwright.data.text.templates import fill, names, templates


def test_every_shipped_list_loads():
    assert {"simple", "openai_imagenet", "icon", "clipart", "name"} <= set(names())
    for name in names():
        rows = templates(name)
        assert len(rows) == len(set(rows)), name


def test_imagenet_templates_are_open_clips():
    assert [fill(t, "cat") for t in templates("openai_imagenet")] == [f("cat") for f in open_clip.OPENAI_IMAGENET_TEMPLATES]


def test_a_file_a_list_and_a_single_template(tmp_path):
    (tmp_path / "mine.txt").write_text("# own\n\n a picture of {c} \n{}\n", encoding="utf-8")
    assert templates(tmp_path / "mine.txt") == templates(str(tmp_path / "mine.txt")) == ["a picture of {c}", "{}"]
    assert templates(["x {}"]) == templates("x {}") == ["x {}"]


def test_filling_leaves_other_braces_alone():
    assert fill("a {} or {c}, {x}", "c{}t") == "a c{}t or c{}t, {x}"
    assert fill("{} has {d}", "a {d}", d="b {}") == "a {d} has b {}"


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there are .*openai_imagenet"):
        templates("openai")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        templates(tmp_path / "no.txt")
    with pytest.raises(ValueError, match="no place for the class name"):
        templates(["a photo"])
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match="holds no template"):
        templates(tmp_path / "empty.txt")
