"""Descriptions of classes: from a file, from a mapping, or asked of a language model; class name -> list of sentences."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pairwright.core import io
from pairwright.data.text.templates import fill
from pairwright.data.text.writer import Writer

REQUEST = "What does a {} look like in a picture? Give short descriptions of its visible features, one a line."
_BULLET = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,3}[.):])\s+")


def read_descriptions(path: str | Path) -> dict[str, list[str]]:
    """Read class descriptions: class name -> sentences, in the order of the file, repeated sentences once.

    ``.json``: an object ``{"cat": ["…", "…"]}``. ``.jsonl``: one object a line with ``class`` (or ``name``) and either ``text`` (one
    sentence) or ``texts`` (a list). ``.tsv``: class and sentence, one pair a line; blank lines and lines that start with # are skipped.
    Classes may come in any order and several times. Raises ValueError with the line that does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a .json, .jsonl or .tsv file of descriptions")
    readers = {".json": _json, ".jsonl": _jsonl, ".tsv": _tsv}
    if path.suffix not in readers:
        raise ValueError(f"{path.name} is not a list of descriptions that can be read: name it .json, .jsonl or .tsv")
    found: dict[str, list[str]] = {}
    for where, name, texts in readers[path.suffix](path):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{where}: no class name")
        if isinstance(texts, str):
            texts = [texts]
        if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            raise ValueError(f"{where}: the descriptions of {name!r} must be a string or a list of strings")
        found.setdefault(name.strip(), []).extend(t.strip() for t in texts if t.strip())
    if not found:
        raise ValueError(f"{path} holds no descriptions")
    return {name: list(dict.fromkeys(texts)) for name, texts in found.items()}


def descriptions(
    source: Writer | Mapping[str, Sequence[str]] | str | Path,
    names: Sequence[str],
    *,
    request: str | Sequence[str] = REQUEST,
    most: int | None = None,
) -> dict[str, list[str]]:
    """Descriptions of each class, in the order of `names`: from a file, a mapping, or a writer that is asked once for each class.

    request: question, or several, to a writer, with ``{}`` for the class; the lines of its answers, without bullets and numbers, are the
    sentences. most: as many sentences a class at the most. Raises ValueError where a class is left without any.
    """
    if not names:
        raise ValueError("no class names given")
    if callable(source):
        questions = [request] if isinstance(request, str) else list(request)
        if lost := [q for q in questions if fill(q, "x") == q]:
            raise ValueError(f"the request {lost[0]!r} does not say which class it is about: write {{}} for the name")
        asked = [fill(q, name) for name in names for q in questions]
        answers = source(asked)
        if len(answers) != len(asked):
            raise ValueError(f"the writer was asked {len(asked)} questions and gave {len(answers)} answers: it must answer each, in order")
        per = len(questions)
        table = {name: [s for a in answers[i * per : i * per + per] for s in sentences(a)] for i, name in enumerate(names)}
    else:
        table = dict(source) if isinstance(source, Mapping) else read_descriptions(source)
    bare = [n for n in names if not table.get(n)]
    if bare:
        raise ValueError(f"no description of {bare[0]!r} ({len(bare)} of {len(names)} classes have none)")
    return {name: list(dict.fromkeys(table[name]))[:most] for name in names}


def sentences(answer: str) -> list[str]:
    """The lines of an answer, without blank ones, bullets, numbers and quotation marks.

    >>> sentences("1. a long tail\\n\\n- whiskers")
    ['a long tail', 'whiskers']
    """
    lines = (_BULLET.sub("", line).strip().strip("\"'“”").strip() for line in answer.splitlines())
    return [line for line in lines if line]


def write_descriptions(path: str | Path, table: Mapping[str, Sequence[str]]) -> None:
    """Keep descriptions as JSON, so that a language model is asked once: `read_descriptions` reads them back."""
    io.write_json(path, {name: list(texts) for name, texts in table.items()})


def _json(path: Path):
    table = io.read_json(path)
    if not isinstance(table, dict):
        raise ValueError(f"{path} must hold one object, class name -> list of sentences")
    return ((f"{path}, class {name!r}", name, texts) for name, texts in table.items())


def _jsonl(path: Path):
    for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as e:
            raise ValueError(f"{path}, line {n}: not valid JSON ({e.msg})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {n}: must be an object with class and text")
        yield f"{path}, line {n}", row.get("class", row.get("name")), row.get("text", row.get("texts"))


def _tsv(path: Path):
    with path.open(encoding="utf-8", newline="") as f:
        for n, row in enumerate(csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not row or not row[0].strip() or row[0].startswith("#"):
                continue
            if len(row) != 2:
                raise ValueError(f"{path}, line {n}: must be a class and a sentence with one tab between them, got {len(row)} columns")
            yield f"{path}, line {n}", *row
