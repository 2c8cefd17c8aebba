"""A contact sheet: the hits of a search as one HTML page with its pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from pairwright.core.io import write_text
from pairwright.data.images import BadImage, open_image
from pairwright.search.folder import Hit

SIDE = 240
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.4rem; font-weight: 600 }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)) }
figure { margin: 0; border: 1px solid color-mix(in srgb, CanvasText 15%, Canvas); border-radius: .5rem; overflow: hidden }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff }
figcaption { padding: .5rem; font-size: .8rem; overflow-wrap: anywhere }
b { font-variant-numeric: tabular-nums }
"""


def write_sheet(path: str | Path, title: str, hits: Sequence[Hit]) -> None:
    """Write the page; it loads nothing from elsewhere. A picture that cannot be opened any more is named without its image."""
    figures = "\n".join(_figure(place, hit) for place, hit in enumerate(hits, 1))
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<main>\n{figures}\n</main></body></html>\n"
    )
    write_text(path, page)


def _figure(place: int, hit: Hit) -> str:
    name = escape(hit.path.name.encode("utf-8", "replace").decode())
    try:
        picture = f'<img alt="{name}" src="{_thumbnail(hit.path)}">'
    except (BadImage, FileNotFoundError):
        picture = ""
    return f"<figure>{picture}<figcaption>{place}. {name}<br><b>{hit.score:.3f}</b></figcaption></figure>"


def _thumbnail(path: Path) -> str:
    image = open_image(path, at_least=SIDE)
    image.thumbnail((SIDE, SIDE))
    data = BytesIO()
    image.save(data, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
