"""`pairwright classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Model, Paths, Strict, Top


def classify(
    *paths: Paths,
    labels: Annotated[str | None, Parameter(help="Class names with commas between them.")] = None,
    labels_file: Annotated[Path | None, Parameter(help="Text file with one class name a line.")] = None,
    template: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="Sentence with {} for the class name, or the name of a shipped list (simple, icon …). Repeat for more sentences.",
        ),
    ] = (),
    model: Model = "sprout",
    top: Top = 3,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Sort images into classes named in words, without training.

    For example:

        pairwright classify photo.jpg --labels "cat,dog"
        pairwright classify icons/ --labels-file names.txt --top 1 --json
        pairwright classify icons/ --labels "apple,pear" --template "a drawing of a {}"
    """
    from pairwright.cli.load import load
    from pairwright.cli.options import at_least_one
    from pairwright.quick import classify as answer
    from pairwright.quick import image_files, read_labels

    at_least_one("--top", top)
    names = read_labels(labels, labels_file)
    files = image_files(paths)
    with show.bar("classifying") as progress:
        found = answer(load(model), files, names, templates=templates_of(template), top=top, strict=strict, progress=progress)
    show.skipped(found.skipped)
    if json:
        answers = [{"path": a.id, "labels": [{"label": l, "probability": round(p, 6)} for l, p in a.best]} for a in found.answers]
        show.as_json({"model": model, "answers": answers, "skipped": dict(found.skipped)})
        return
    rows = [(a.id, *(cell for label, p in a.best for cell in (label, p))) for a in found.answers]
    places = len(found.answers[0].best)
    show.out(show.table(rows, ("image", *(h for j in range(places) for h in (("label" if j == 0 else f"#{j + 1}"), "p")))))


def templates_of(given: tuple[str, ...]) -> str | list[str] | None:
    """One word is the name of a shipped list, anything else are sentences."""
    if len(given) == 1 and "{" not in given[0]:
        return given[0]
    return list(given) or None
