"""What a user waits for before anything happens: each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from bench.harness import Case, Entry, Measure

ROOT = Path(__file__).parent.parent


def fresh(*command: str) -> Measure:
    def measure() -> tuple[float, Any]:
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)
        return time.perf_counter() - start, (done.returncode, len(done.stdout))

    return measure


def both_ran(ours: Any, theirs: Any) -> str:
    assert ours[0] == theirs[0] == 0, f"exit codes {ours[0]} and {theirs[0]}"
    return "both ended well"


def drawn(folder: Path, n: int = 64) -> None:
    """Discs and boxes of many colours, as files."""
    for i in range(n):
        picture = Image.new("RGB", (96, 96), "white")
        draw = ImageDraw.Draw(picture)
        shape = draw.ellipse if i % 2 else draw.rectangle
        shape((8 + i % 16, 8, 88 - i % 16, 88), fill=f"hsl({360 * i // n}, 80%, 50%)")
        picture.save(folder / f"{i:02}.png")


def cases() -> Iterator[Case]:
    yield Case(
        name="startup_import",
        title="Start-up: import of the package",
        cost="seconds",
        ours=Entry("pairwright", "import pairwright", fresh("-c", "import pairwright")),
        peers=[Entry("open_clip", "import open_clip", fresh("-c", "import open_clip"))],
        agree=both_ran,
        limit=0.3,
        note="Includes the start of the interpreter.",
    )
    yield Case(
        name="startup_help",
        title="Start-up: pairwright --help",
        cost="seconds",
        ours=Entry("pairwright", "pairwright --help", fresh("-m", "pairwright", "--help")),
        peers=[],
        agree=both_ran,
        limit=0.3,
        note="Includes the start of the interpreter.",
    )
    with tempfile.TemporaryDirectory() as folder:
        drawn(Path(folder))
        yield Case(
            name="startup_search",
            title="Start-up: first search on an embedded folder",
            cost="seconds",
            ours=Entry(
                "pairwright", "pairwright search FOLDER WORDS", fresh("-m", "pairwright", "search", folder, "a red disc", "--top", "2")
            ),
            peers=[],
            agree=both_ran,
            limit=2.0,
            note="Includes the start of the interpreter and the loading of sprout. The warm-up embeds the folder.",
            inputs="64 drawn pictures",
        )
