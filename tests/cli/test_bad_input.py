"""Bad input: exit code 2 and one clear line on stderr, nothing on stdout, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairwright.cli.commands import classify


@pytest.fixture
def places(pictures: Path, tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("a\nb\na\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\xd8")
    (tmp_path / "fake.png").write_text("text")
    return {"P": pictures, "T": tmp_path}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("classify {P}", "name the classes"),
        ("classify {P} --labels a --labels-file {T}/text.txt", "either --labels"),
        ("classify {P} --labels a,b,a", "label 'a' is given twice (as number 1 and 3)"),
        ("classify {P} --labels a,,b", "label 2 of 3 is empty"),
        ("classify {P} --labels ,", "no labels"),
        ("classify {P} --labels-file {T}/text.txt", "label 'a' is given twice"),
        ("classify {P} --labels-file {T}/binary.txt", "not a text file"),
        ("classify {P} --labels-file {T}/nowhere.txt", "nowhere.txt does not exist"),
        ("classify {T}/nowhere --labels a,b", "nowhere does not exist"),
        ("classify {T}/empty --labels a,b", "no images in"),
        ("classify {T}/fake.png --labels a,b", "none of the 1 images could be read"),
        ("classify --labels a,b", "no path was given"),
        ("classify {P} --labels a,b --top 0", "--top is 0"),
        ("classify {P} --labels a,b --top two", "two"),
        ("classify {P} --labels a,b --template cats", "no template list 'cats'"),
        ("classify {P} --labels a,b --lables", "--lables"),
        ("classify {P} --labels a,b --model no-such-model", "unknown model 'no-such-model'"),
        ("classify {P} --labels a,b --model local-dir:{T}/empty", "open_clip_config.json"),
        ("search {P}", "say what to look for"),
        ("search {P} red --image {P}/red.png", "say what to look for"),
        ("search {P} --image {T}/nowhere.png", "nowhere.png does not exist"),
        ("search {P} --image {T}/fake.png", "not an image"),
        ("search {T}/text.txt red", "is a file"),
        ("search {T}/empty red", "no images"),
        ("embed {P}", "--out"),
        ("evaluate nonsense", "no suite 'nonsense'"),
        ("evaluate world-retrieval --seeds 0", "--seeds is 0"),
        ("train nonsense", "no recipe 'nonsense'"),
        ("packs get", "name the packs"),
        ("packs get emojibase nonsense", "no pack 'nonsense'"),
        ("models zzzzzz", "no model name holds 'zzzzzz'"),
        ("find qqqqqqqqqq", "nothing here is called"),
        ("find", "nothing to look for"),
        ("ledger --tier nonsense", "choose from core, adjacent, remote"),
        ("ledger --status done", "choose from shown"),
        ("clasify {P}", "Did you mean"),
    ],
)
def test_one_clear_line(run, places: dict[str, Path], model_name: str, line: str, complaint: str) -> None:
    words = [w.format(**places) for w in line.split()]
    if words[0] in ("classify", "search", "embed") and "--model" not in words:
        words += ["--model", model_name]
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert complaint in ran.err
    assert ran.err.startswith("pairwright: ")
    assert ran.err.count("\n") == 1


def test_debug_shows_the_traceback(run, places: dict[str, Path]) -> None:
    ran = run("classify", places["T"] / "nowhere", "--labels", "a,b", "--debug")
    assert ran.code == 2
    assert "Traceback" in ran.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "pairwright: interrupted\n"),
        (ConnectionError("no network:\n  try again"), 2, "pairwright: no network: try again\n"),
        (PermissionError(13, "Permission denied", "/root/x"), 2, "pairwright: /root/x: Permission denied\n"),
        (TypeError("a bug"), 1, "pairwright: internal error, TypeError: a bug (--debug shows where)\n"),
    ],
)
def test_exit_codes(run, pictures: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pairwright.quick.image_files", fail)
    ran = run("classify", pictures, "--labels", "a,b")
    assert (ran.code, ran.err) == (code, line)


def test_one_word_is_a_list_and_sentences_are_sentences() -> None:
    assert classify.templates_of(()) is None
    assert classify.templates_of(("icon",)) == "icon"
    assert classify.templates_of(("a {}",)) == ["a {}"]
    assert classify.templates_of(("a {}", "b {}")) == ["a {}", "b {}"]
