"""The demo: the shipped model on real pictures, from a fresh machine to one page of results, in a few minutes on two cores.

It gets freely licensed packs (npm; nothing but Python is needed), embeds them, answers queries, classifies without and with a few
labels, measures on held-out concepts and an unseen icon set with 95% intervals, and writes ``report.html`` and ``results.json``.

    python -m pairwright.recipes.demo --out demo
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import Tensor

from pairwright.core import io
from pairwright.core.provenance import commit, versions
from pairwright.data import packs
from pairwright.evaluate.asker import Asker
from pairwright.evaluate.protocol import evaluate
from pairwright.evaluate.result import Result
from pairwright.suites import table
from pairwright.suites.suite import Suite

PACKS = ("emojibase", "noto", "twemoji", "flat-color-icons")
SHOWN = ("noto", "twemoji", "openclipart")
"""Collections whose pictures may stand on the page (each pack's licence allows it, too: see `packs.PACKS[name].show`)."""
_EMOJI = ("noto", "twemoji")
_NEW = {"data": _EMOJI, "concepts": "test"}

SUITES: tuple[Suite, ...] = (
    replace(table.get("unseen-concept"), name="new-concept-names", **_NEW,
            about="held-out emoji concepts of Noto and Twemoji: the name among the held-out names"),
    replace(table.get("emoji-subgroup"), name="new-concept-subgroups", **_NEW, among="all",
            about="held-out emoji concepts of Noto and Twemoji: which of about 100 subgroups"),
    replace(table.get("openclipart-retrieval"), name="new-concept-retrieval", **_NEW,
            about="held-out emoji concepts of Noto and Twemoji and their names, both ways"),
    table.get("icons-flat-color"),
    replace(table.get("openclipart-retrieval"), name="new-icons-retrieval", data=("flat-color-icons",),
            about="an unseen icon set and the names of its icons, both ways"),
    replace(table.get("emoji-few-shot"), name="new-concept-few-shot", **_NEW, text="category", min_class=2, shots=(1, 2, 4, 8),
            headline="acc1[tip_adapter,k=8]", about="groups of held-out emoji, learnt from k pictures of one half, asked on the other"),
    table.get("openclipart-retrieval"),
)  # fmt: skip


@dataclass
class Collection:
    """The pictures that are searched: rows of the shown packs and their embeddings."""

    rows: pa.Table
    z_ND: Tensor

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Run:
    """Everything the page is made from."""

    model: Any
    model_name: str
    asker: Asker
    collection: Collection
    results: dict[str, Result]
    packs: tuple[str, ...]
    command: str
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    out: str | Path = "demo", names: Sequence[str] = (), model: str = "sprout", seeds: int = 5, say: Callable[[str], None] | None = None
) -> Path:
    """Make the demo in the folder `out`; returns the page's path.

    names: packs (where empty, the default ones, and openclipart if it is built). seeds: draws of the few-shot examples. say: where
    progress lines go (stderr). Raises ConnectionError or FileNotFoundError, with what to do, where a pack is neither in the cache nor
    to be had.
    """
    from pairwright.models.load import load
    from pairwright.recipes.demo_page import page

    say = say or (lambda text: print(text, file=sys.stderr, flush=True))
    asked = f" --packs {','.join(names)}" if names else ""
    command = f"python -m pairwright.recipes.demo --out {out}{asked}{'' if model == 'sprout' else f' --model {model}'}"
    names = tuple(names) or (*PACKS, *(["openclipart"] if packs.is_cached("openclipart") else []))
    if missing := [n for n in _EMOJI if n not in names]:
        raise ValueError(f"the demo measures on {' and '.join(_EMOJI)}: add {', '.join(missing)} to --packs")
    clock = _Clock(say)
    for name in names:
        clock.step("packs", f"pack {name}", lambda name=name: packs.get(name, progress=sys.stderr.isatty()))
    clip = clock.step("model", f"model {model}", lambda: load(model))
    asker = Asker(clip, batch_size=128, progress=_progress())
    rows = pa.concat_tables([packs.load(n) for n in shown(names)], promote_options="permissive")
    z_ND = clock.step("embed", f"{len(rows):,} pictures to embed", lambda: asker.images(rows["image"].to_pylist()))
    results = {}
    for suite in (s for s in SUITES if set(s.data) <= set(names)):
        ask = lambda suite=suite: evaluate(clip, suite, name=model, seeds=range(seeds), progress=_progress())
        results[suite.name] = clock.step("measure", f"measure {suite.name}", ask)
    state = Run(clip, model, asker, Collection(rows, z_ND), results, names, command, clock.seconds)
    html = clock.step("page", "page", lambda: page(state))
    path = Path(out) / "report.html"
    io.write_text(path, html)
    io.write_json(Path(out) / "results.json", to_json(state))
    return path


def shown(names: Sequence[str]) -> list[str]:
    """Those of the packs whose pictures may stand on the page."""
    return [n for n in names if n in SHOWN and packs.PACKS[n].show]


def to_json(state: Run) -> dict[str, Any]:
    """The numbers behind the page."""
    return {
        "command": state.command,
        "model": state.model_name,
        "fingerprint": state.asker.fingerprint,
        "commit": commit(),
        "versions": versions(),
        "packs": list(state.packs),
        "pictures": len(state.collection),
        "seconds": {k: round(v, 2) for k, v in state.seconds.items()},
        "results": [r.to_json() for r in state.results.values()],
    }


def summary(path: Path) -> str:
    """A few lines for the terminal: each headline with its interval, and where the page is."""
    found = io.read_json(path.with_name("results.json"))
    lines = []
    for raw in found["results"]:
        result = Result.from_json(raw)
        number = result.metrics[result.headline]
        chance = "" if number.chance is None else f"   chance {number.chance:.3f}"
        lines.append(f"{result.suite:24} {result.headline:28} {number}{chance}   n={number.n}")
    return "\n".join(
        [*lines, f"{found['pictures']:,} pictures searched, {sum(found['seconds'].values()):.0f} s", f"page: {path.resolve()}"]
    )


class _Clock:
    """Says what is done and adds up how long each phase took."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.seconds = say, dict[str, float]()

    def step(self, phase: str, what: str, do: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        value = do()
        took = time.perf_counter() - start
        self.seconds[phase] = self.seconds.get(phase, 0.0) + took
        self.say(f"[{sum(self.seconds.values()):6.1f} s] {what} ({took:.1f} s)")
        return value


def _progress() -> Callable[[str, int, int], None]:
    """A progress bar on stderr for each batch of embeddings."""
    from tqdm import tqdm

    bars: dict[tuple[str, int], Any] = {}

    def update(what: str, done: int, of: int) -> None:
        bar = bars.setdefault((what, of), tqdm(total=of, desc=what, leave=False, disable=None))
        bar.update(done - bar.n)
        if done == of:
            bars.pop((what, of)).close()

    return update


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pairwright demo", description="The shipped model on real pictures: one page of results.")
    parser.add_argument("--out", default="demo", help="folder for report.html and results.json (default: demo)")
    parser.add_argument("--packs", default="", help=f"packs, with commas (default: {','.join(PACKS)}, and openclipart where it is built)")
    parser.add_argument("--model", default="sprout", help="model to show (default: sprout)")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the few-shot examples (default: 5)")
    args = parser.parse_args(argv)
    try:
        path = run(args.out, [n.strip() for n in args.packs.split(",") if n.strip()], args.model, args.seeds)
    except (ConnectionError, FileNotFoundError, ValueError) as e:
        print(f"demo: {e}", file=sys.stderr)
        return 2
    print(summary(path))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
