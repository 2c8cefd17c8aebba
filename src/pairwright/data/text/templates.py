"""Prompt templates: the shipped lists (text files in `lists`), a user's file, or a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "lists"


def names() -> list[str]:
    """Names of the shipped template lists."""
    return sorted(p.stem for p in FOLDER.glob("*.txt"))


def templates(source: str | Path | Sequence[str] = "simple") -> list[str]:
    """Load prompt templates, in which ``{}`` or ``{c}`` stands for the class name.

    source: the name of a shipped list (see `names()`), the path of a text file (one template a line, blank lines and lines that start
    with # are skipped), a single template, or a list of templates. Raises ValueError or FileNotFoundError with what is there.

    >>> templates("a photo of a {}.")
    ['a photo of a {}.']
    """
    if not isinstance(source, str | Path):
        return _checked([str(t) for t in source], "the given list")
    text = str(source)
    if "{" in text:
        return _checked([text], "the given template")
    if text in names():
        path = FOLDER / f"{text}.txt"
    elif Path(text).is_file():
        path = Path(text)
    elif isinstance(source, Path) or "/" in text or text.endswith(".txt"):
        raise FileNotFoundError(f"{text} does not exist: give a file with one template a line, or one of {', '.join(names())}")
    else:
        raise ValueError(
            f"no template list {text!r}: there are {', '.join(names())}; or give a file, or a template with {{}} for the class"
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return _checked([line for line in lines if line and not line.startswith("#")], str(path))


def fill(template: str, name: str, **more: str) -> str:
    """Put the class name (and other named parts, e.g. ``d`` for a description) into a template. Names may hold braces."""
    parts = {"{}": name, "{c}": name, **{f"{{{k}}}": v for k, v in more.items()}}
    out, i = [], 0
    while i < len(template):
        mark = next((m for m in parts if template.startswith(m, i)), None)
        out.append(parts[mark] if mark else template[i])
        i += len(mark) if mark else 1
    return "".join(out)


def _checked(rows: list[str], where: str) -> list[str]:
    if not rows:
        raise ValueError(f"{where} holds no template")
    for row in rows:
        if "{}" not in row and "{c}" not in row:
            raise ValueError(f"template {row!r} ({where}) has no place for the class name: write {{}} or {{c}}")
    return rows
