"""`pairwright models`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json


def models(
    name: Annotated[str, Parameter(help="Only names that hold this text.")] = "",
    /,
    *,
    json: Json = False,
) -> None:
    """List the model names that --model takes.

    `sprout` ships with the package; weights of the others come from the hub on first use.

    For example:

        pairwright models
        pairwright models siglip
        pairwright models --json
    """
    from pairwright.models.load.catalog import SHIPPED
    from pairwright.models.load.catalog import models as zoo

    shipped = [s for s in SHIPPED if name.lower() in s.lower()]
    found = zoo(name)
    if not found and not shipped:
        raise ValueError(f"no model name holds {name!r}; `pairwright models` lists all of them")
    if json:
        others = [{"name": m.name, "tags": list(m.tags), "size": m.size, "width": m.width, "shipped": False} for m in found]
        show.as_json([{"name": s, "shipped": True} for s in shipped] + others)
        return
    rows = [(s, "", "", "ships with the package") for s in shipped]
    rows += [(m.name, m.size if isinstance(m.size, int) else "x".join(map(str, m.size)), m.width, ", ".join(m.tags) or "-") for m in found]
    show.out(show.table(rows, ("model", "pixels", "width", "pretrained tags: MODEL/TAG")))
    show.note("also: hf-hub:ORG/REPO, local-dir:PATH, or the path of a model folder or checkpoint")
