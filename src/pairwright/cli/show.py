"""What commands print: tables and JSON on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


def out(text: str) -> None:
    print(text, file=sys.stdout, flush=True)


def note(text: str) -> None:
    """A remark for the person at the terminal; never part of the output."""
    print(text, file=sys.stderr, flush=True)


def as_json(value: Any) -> None:
    out(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def table(rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """Aligned columns, numbers to the right, two spaces between. Wide characters (Chinese, emoji) take two places."""
    body = [[_text(cell) for cell in row] for row in rows]
    lines = ([list(head)] if head else []) + body
    if not lines:
        return ""
    right = [bool(body) and all(_is_number(row[j]) for row in body) for j in range(len(lines[0]))]
    widths = [max(_width(line[j]) for line in lines) for j in range(len(lines[0]))]
    return "\n".join("  ".join(_pad(cell, widths[j], right[j]) for j, cell in enumerate(line)).rstrip() for line in lines)


def _text(cell: Any) -> str:
    text = f"{cell:.3f}" if isinstance(cell, float) else str(cell)
    # file names and captions come from outside: they may not move the cursor
    return "".join(c if c.isprintable() else "�" for c in text)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace(",", "").removeprefix("-").isdigit() or text == ""


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def skipped(files: Mapping[str, str], most: int = 10) -> None:
    """Say which files were left out and why."""
    for path, why in list(files.items())[:most]:
        note(f"skipped {path}: {why}")
    if len(files) > most:
        note(f"… and {len(files) - most} more ({len(files)} skipped in all; --json lists them)")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, where that is a terminal. Yields `report(done, total)`."""
    from tqdm import tqdm

    with tqdm(desc=what, unit=" items", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as line:

        def report(done: int, total: int) -> None:
            line.total = total
            line.update(done - line.n)

        yield report


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for a job of several phases. Yields `report(what, done, total)`; a new `what` starts the bar again."""
    from tqdm import tqdm

    now = ""
    with tqdm(unit=" steps", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as line:

        def report(what: str, done: int, total: int) -> None:
            nonlocal now
            if what != now:
                now = what
                line.reset(total)
                line.set_description(what, refresh=False)
            line.update(done - line.n)

        yield report
