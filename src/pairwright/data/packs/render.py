"""Turn SVG or PNG into a PNG of bounded size in worker processes that can be killed: a hostile or endless picture costs one row.

A worker is this module run as a program that answers frames on its standard streams (a length, then bytes), so that it works under any
start method, needs no guard in the caller's script, and exchanges nothing but bytes.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

SIDE = 128
SECONDS = 20.0
MAX_PIXELS = 64_000_000
MAX_SVG = 8 * 2**20
FULL, MAX_ZOOM = 0.9, 16.0

_OUTSIDE = re.compile(r"""(<image\b[^>]*?\bhref\s*=\s*)(["'])(?!\s*(?:data:|\#))[^"']*\2""", re.S | re.I)


@dataclass(frozen=True)
class Picture:
    """A rendered picture: PNG bytes and its perceptual hash; or why there is none."""

    png: bytes = b""
    phash: int = 0
    fault: str = ""


def render_svg(svg: bytes, side: int = SIDE) -> bytes:
    """Rasterise SVG text so that its longer side has `side` pixels, aspect kept, background transparent.

    The machine's fonts are not used (so that every machine draws the same) and references to outside files are cut.
    Raises ValueError where it is not an SVG that can be drawn.
    """
    import resvg_py

    if len(svg) > MAX_SVG:
        raise ValueError(f"SVG of {len(svg):,} bytes is over the limit of {MAX_SVG:,}")
    text = _OUTSIDE.sub(r"\1\2\2", _text(svg))
    options: dict[str, Any] = {"dpi": 96.0, "skip_system_fonts": True}  # without a dpi, sizes in pt or mm are refused
    if "<text" in text:
        options |= _fonts()
    png = resvg_py.svg_to_bytes(svg_string=text, width=side, **options)
    if struct.unpack(">I", png[20:24])[0] > side:  # only one side may be given, or the aspect is lost
        png = resvg_py.svg_to_bytes(svg_string=text, height=side, **options)
    return bytes(png)


def _text(svg: bytes) -> str:
    """SVG bytes as text; what is not UTF-8 is taken as Latin-1, and the declaration that says so is dropped."""
    try:
        text = svg.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = svg.decode("latin-1")
    return re.sub(r"^\s*<\?xml.*?\?>", "", text, count=1, flags=re.S)


@cache
def _fonts() -> dict[str, Any]:
    """One family for all text, the one that comes with matplotlib, so that text is drawn alike everywhere."""
    spec = importlib.util.find_spec("matplotlib")
    folder = Path(spec.origin or "").parent / "mpl-data" / "fonts" / "ttf" if spec else Path()
    files = [str(f) for f in sorted(folder.glob("DejaVuSans*.ttf")) if f.stem in ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique")]
    family = "DejaVu Sans"
    return {"font_files": files, "font_family": family, "sans_serif_family": family, "serif_family": family} if files else {}


def _trimmed(svg: bytes, image: Any, side: int) -> Any:
    """The drawing without its empty margins: drawn again larger where much of the page is empty, so that it stays sharp."""
    box = _ink(image)
    if box is None or max(box[2] - box[0], box[3] - box[1]) > FULL * side:
        return image
    if svg:
        factor = min(MAX_ZOOM, side / max(box[2] - box[0], box[3] - box[1]))
        image = _open(render_svg(svg, round(side * factor)))
        box = _ink(image) or (0, 0, *image.size)
    return image.crop(box)


def _ink(image: Any) -> tuple[int, int, int, int] | None:
    return image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()


def _open(png: bytes) -> Any:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are over the limit")
        return image.convert("RGBA")


def draw(data: bytes, *, trim: bool = False, side: int = SIDE) -> Picture:
    """Render SVG text, or shrink a PNG whose longer side exceeds `side`; check that it shows something; hash it.
    `trim` cuts transparent margins off first.

    RGBA is kept where the source has transparency. Raises ValueError for what cannot be drawn or is blank.
    """
    import io

    from PIL import Image

    from pairwright.data.packs.phash import perceptual_hash

    is_png = data.startswith(b"\x89PNG")
    png = data if is_png else render_svg(data, side)
    rgba = whole = _open(png)
    if trim:
        rgba = _trimmed(b"" if is_png else data, whole, max(whole.size))
    ratio = side / max(rgba.size)
    if ratio < 1:
        rgba = rgba.resize((max(1, round(rgba.width * ratio)), max(1, round(rgba.height * ratio))), Image.Resampling.LANCZOS)
    if all(low == high for low, high in rgba.getextrema()) or rgba.getextrema()[3][1] == 0:
        raise ValueError("blank picture")
    opaque = rgba.getextrema()[3][0] == 255
    if rgba is not whole or opaque:
        out = io.BytesIO()
        (rgba.convert("RGB") if opaque else rgba).save(out, "PNG")
        png = out.getvalue()
    return Picture(png, perceptual_hash(rgba))


def _read(stream: IO[bytes], n: int) -> bytes:
    parts = b""
    while len(parts) < n:
        part = stream.read(n - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


def _serve() -> None:
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            n = struct.unpack(">I", _read(stdin, 4))[0]
            data = _read(stdin, n)
        except EOFError:
            return
        try:
            p = draw(data[1:], trim=data[:1] == b"t")
            answer = struct.pack(">BQI", 0, p.phash, len(p.png)) + p.png
        except Exception as e:
            said = (str(e) or type(e).__name__).encode()[:300]
            answer = struct.pack(">BQI", 1, 0, len(said)) + said
        stdout.write(answer)
        stdout.flush()


class _Worker:
    def __init__(self, seconds: float, program: list[str]) -> None:
        self.seconds, self.program, self.process = seconds, program, None

    def draw(self, data: bytes, trim: bool) -> Picture:
        if self.process is None:
            env = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
            self.process = subprocess.Popen(self.program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        p, late = self.process, threading.Event()
        timer = threading.Timer(self.seconds, lambda: (late.set(), p.kill()))
        timer.start()
        try:
            p.stdin.write(struct.pack(">I", len(data) + 1) + (b"t" if trim else b"-") + data)
            p.stdin.flush()
            status, phash, n = struct.unpack(">BQI", _read(p.stdout, 13))
            body = _read(p.stdout, n)
        except (EOFError, OSError):
            self.close()
            return Picture(fault=f"drawing took more than {self.seconds:g} s" if late.is_set() else "the renderer crashed")
        finally:
            timer.cancel()
        return Picture(fault=body.decode(errors="replace")) if status else Picture(body, phash)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def draw_all(
    pictures: Iterable[tuple[bytes, bool]], *, processes: int = 2, seconds: float = SECONDS, program: list[str] | None = None
) -> Iterator[Picture]:
    """Draw many (picture, trim) in `processes` workers and yield the results in order; one that takes over `seconds` is given up.

    A worker that hangs or crashes is killed and replaced, and its picture's `fault` says so.
    """
    program = program or [sys.executable, "-m", "pairwright.data.packs.render"]
    todo: queue.Queue[tuple[bytes, bool, queue.Queue[Picture]] | None] = queue.Queue()
    workers = [_Worker(seconds, program) for _ in range(processes)]

    def work(worker: _Worker) -> None:
        while (job := todo.get()) is not None:
            job[2].put(worker.draw(job[0], job[1]))

    threads = [threading.Thread(target=work, args=(w,), daemon=True) for w in workers]
    for t in threads:
        t.start()
    waiting: list[queue.Queue[Picture]] = []
    try:
        for data, trim in pictures:
            slot: queue.Queue[Picture] = queue.Queue(1)
            todo.put((data, trim, slot))
            waiting.append(slot)
            if len(waiting) >= 16 * processes:  # bounded memory
                yield waiting.pop(0).get()
        while waiting:
            yield waiting.pop(0).get()
    finally:
        with todo.mutex:
            todo.queue.clear()
        for _ in threads:
            todo.put(None)
        for t in threads:
            t.join(timeout=2 * seconds)
        for w in workers:
            w.close()


if __name__ == "__main__":
    _serve()
