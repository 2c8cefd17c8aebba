"""`pairwright classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Paths, Precision, Strict, Top


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
    bundle: Annotated[
        Path | None, Parameter(help="Classify with what `pairwright adapt` made (its folder); --labels then picks classes.")
    ] = None,
    model: Annotated[
        str | None, Parameter(help="Model name, see `pairwright models` (sprout if not given; that of the bundle with --bundle).")
    ] = None,
    top: Top = 3,
    precision: Precision = "auto",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Sort images into classes named in words, or with a classifier of your own.

    Nothing is trained. An image that a bundle's classifier is not sure enough of is "none of these".

    For example:

        pairwright classify photo.jpg --labels "cat,dog"
        pairwright classify icons/ --labels-file names.txt --top 1 --json
        pairwright classify icons/ --labels "apple,pear" --template "a drawing of a {}"
        pairwright classify icons/ --bundle bundle/
    """
    from pairwright.cli.load import load
    from pairwright.cli.options import at_least_one
    from pairwright.quick import classify as answer
    from pairwright.quick import image_files, read_labels

    at_least_one("--top", top)
    if bundle is not None:
        if template:
            raise ValueError("--template belongs to class names in words; a bundle has its own")
        some = None if labels is None and labels_file is None else read_labels(labels, labels_file)
        return _with_bundle(bundle, paths, some, model, json, top=top, precision=precision, strict=strict)
    names = read_labels(labels, labels_file)
    files = image_files(paths)
    model = model or "sprout"
    with show.bar("classifying") as progress:
        ask = {"templates": templates_of(template), "top": top, "strict": strict, "precision": precision}
        found = answer(load(model), files, names, progress=progress, **ask)
    show.skipped(found.skipped)
    if json:
        answers = [{"path": a.id, "labels": [{"label": l, "probability": round(p, 6)} for l, p in a.best]} for a in found.answers]
        show.as_json({"model": model, "answers": answers, "skipped": dict(found.skipped)})
        return
    rows = [(a.id, *(cell for label, p in a.best for cell in (label, p))) for a in found.answers]
    places = len(found.answers[0].best)
    show.out(show.table(rows, ("image", *(h for j in range(places) for h in (("label" if j == 0 else f"#{j + 1}"), "p")))))


def _with_bundle(folder: Path, paths: tuple[Path, ...], labels: list[str] | None, model: str | None, json: bool, **how: Any) -> None:
    from pairwright.quick import image_files
    from pairwright.serve.bundle import load_bundle

    bundle = load_bundle(folder, model)
    files = image_files(paths)
    with show.bar("classifying") as progress:
        found = bundle.classify(files, labels=labels, progress=progress, **how)
    show.skipped(found.skipped)
    if json:
        answers = [
            {"path": v.id, "said": list(v.said), "labels": [{"label": l, "probability": round(p, 6)} for l, p in v.best]}
            for v in found.verdicts
        ]
        show.as_json({"bundle": str(folder), "answers": answers, "skipped": dict(found.skipped)})
        return
    listed = lambda best: ", ".join(f"{l} {p:.2f}" for l, p in best)
    sure = lambda v: (", ".join(v.said), v.best[0][1], listed(v.best[1:]))
    rows = [(v.id, *(sure(v) if v.said else ("none of these", "", listed(v.best)))) for v in found]
    show.out(show.table(rows, ("image", "answer", "p", "next")))


def templates_of(given: tuple[str, ...]) -> str | list[str] | None:
    """One word is the name of a shipped list, anything else are sentences."""
    if len(given) == 1 and "{" not in given[0]:
        return given[0]
    return list(given) or None
