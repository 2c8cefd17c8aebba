"""`pairwright search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Model, Precision, Strict, Top


def search(
    path: Annotated[Path, Parameter(help="Folder of images (searched with its subfolders).")],
    /,
    *query: Annotated[str, Parameter(help="What the picture shows, in plain words.")],
    image: Annotated[Path | None, Parameter(help="Search for pictures like this one instead.")] = None,
    top: Top = 10,
    html: Annotated[Path | None, Parameter(help="Also write the hits as a page with pictures.")] = None,
    model: Model = "sprout",
    rebuild: Annotated[bool, Parameter(negative="", show_default=False, help="Embed the whole folder again.")] = False,
    precision: Precision = "auto",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Find pictures in a folder by words or by another picture.

    The folder is embedded once; later searches embed only what was added or changed.

    For example:

        pairwright search icons/ "red apple"
        pairwright search icons/ --image query.png --top 5
        pairwright search icons/ "a sailing boat" --html hits.html
    """
    from pairwright.cli.load import load
    from pairwright.cli.options import at_least_one
    from pairwright.data.images import open_image
    from pairwright.search.folder import FolderIndex

    at_least_one("--top", top)
    words = " ".join(query).strip()
    if bool(words) == (image is not None):
        raise ValueError('say what to look for: either words, pairwright search FOLDER "red apple", or --image query.png')
    # a query that cannot be read should not cost the reading of a whole folder first
    picture = open_image(image, alpha=True) if image is not None else None
    index = FolderIndex(path, load(model), precision=precision)
    with show.bar("embedding new images") as progress:
        changes = index.refresh(rebuild=rebuild, strict=strict, progress=progress)
    show.skipped(changes.skipped)
    if changes:
        show.note(f"{path}: {changes}")
    hits = index.search_image(picture, top) if picture is not None else index.search_text(words, top)
    if html is not None:
        from pairwright.search.sheet import write_sheet

        write_sheet(html, words or f"like {image.name if image else ''}", hits)
        show.note(f"written: {html}")
    if json:
        found = [{"path": str(h.path), "score": round(h.score, 6)} for h in hits]
        show.as_json({"model": model, "query": words or str(image), "hits": found, "indexed": len(index), "skipped": dict(changes.skipped)})
    else:
        show.out(show.table([(h.score, h.path) for h in hits], ("score", "image")))
