"""`pairwright packs list|get`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from pairwright.cli import show
from pairwright.cli.options import Json

app = App(name="packs", help="List and fetch packs of real image-text pairs.", help_format="plaintext", sort_key=5)


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """Show the packs: where they come from, their licence, and whether they are here.

    For example:

        pairwright packs list
        pairwright packs list --json
    """
    from pairwright.data import packs

    here = set(packs.available())
    rows = list(packs.PACKS.values())
    if json:
        from dataclasses import asdict

        show.as_json([{**asdict(p), "cached": p.name in here} for p in rows])
        return
    show.out(
        show.table(
            [
                (
                    p.name,
                    "here" if p.name in here else "-",
                    f"{p.source}:{p.package}",
                    p.version,
                    p.role,
                    "yes" if p.show else "no",
                    p.licence,
                )
                for p in rows
            ],
            ("pack", "cached", "package", "version", "role", "may be shown", "licence"),
        )
    )


@app.command
def get(
    *names: str,
    all: Annotated[bool, Parameter(name="--all", negative="", show_default=False, help="Every pack.")] = False,
    json: Json = False,
) -> None:
    """Fetch and build packs into the cache; afterwards they need no network.

    For example:

        pairwright packs get twemoji noto
        pairwright packs get --all
    """
    import sys

    from pairwright.core.io import read_json
    from pairwright.data import packs

    unknown = [n for n in names if n not in packs.PACKS]
    if unknown:
        raise ValueError(f"there is no pack {unknown[0]!r}; the packs are {', '.join(packs.PACKS)}")
    if not names and not all:
        raise ValueError("name the packs to get, or --all; `pairwright packs list` shows them")
    done = []
    for name in packs.PACKS if all else dict.fromkeys(names):
        path = packs.get(name, progress=sys.stderr.isatty())
        manifest = read_json(path.with_name("manifest.json"))
        done.append(
            {"name": name, "path": str(path), "rows": manifest["rows"], "skipped": len(manifest["skipped"]), "licence": manifest["licence"]}
        )
        if not json:
            show.note(f"{name}: {manifest['rows']} rows, {len(manifest['skipped'])} skipped")
    if json:
        show.as_json(done)
    else:
        show.out(show.table([(d["name"], d["rows"], d["licence"], d["path"]) for d in done], ("pack", "rows", "licence", "path")))
