from __future__ import annotations

import pytest

from pairwright.data.images import find_images


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a/2.PNG", "a/1.webp", "a/notes.txt", ".hidden.png", ".git/x.png", "z.gif", "readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(listing, root):
    return [p.relative_to(root).as_posix() for p in listing]


def test_folder_is_searched_in_order_and_others_counted(folder):
    found = find_images(folder)
    assert names(found, folder) == ["b.jpg", "z.gif", "a/1.webp", "a/2.PNG"]
    assert found.others == 2
    assert len(found) == 4


def test_globs_files_and_repeats(folder):
    assert names(find_images(str(folder / "**" / "*.[Pw]*")), folder) == ["a/1.webp", "a/2.PNG"]
    assert names(find_images(folder / "b.jpg", folder / "a", folder / "b.jpg", folder / "readme.md"), folder) == [
        "b.jpg",
        "a/1.webp",
        "a/2.PNG",
        "readme.md",
    ]


def test_links_to_folders_are_not_followed(folder):
    (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    assert len(find_images(folder)) == 4


def test_clear_errors(folder, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_images(folder / "nope")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        find_images(str(folder / "*.tiff"))
    with pytest.raises(ValueError, match="no files"):
        find_images(tmp_path_factory.mktemp("empty"))
    (only := tmp_path_factory.mktemp("words")).joinpath("x.txt").touch()
    with pytest.raises(ValueError, match="1 other files"):
        find_images(only)
