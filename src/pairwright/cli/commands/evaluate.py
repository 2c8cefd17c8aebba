"""`pairwright evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Model


def evaluate(
    suite: Annotated[str, Parameter(help="Name of a suite; `pairwright evaluate list` prints them.")],
    /,
    *,
    model: Model = "sprout",
    out: Annotated[Path | None, Parameter(help="Folder for result.json, items.parquet and answers.parquet.")] = None,
    seeds: Annotated[int, Parameter(help="Draws of the few-shot suites.")] = 3,
    batch_size: Annotated[int, Parameter(help="Images embedded at a time.")] = 128,
    json: Json = False,
) -> None:
    """Measure a model on a suite, with 95% intervals.

    Beside each metric stands what chance would give.

    For example:

        pairwright evaluate list
        pairwright evaluate stamps-retrieval --model sprout
        pairwright evaluate stamps-retrieval --model ViT-B-32/openai --out runs/b32 --json
    """
    from pairwright.cli.options import at_least_one
    from pairwright.suites import table

    at_least_one("--seeds", seeds)
    at_least_one("--batch-size", batch_size)
    if suite == "list":
        rows = [(s.name, s.task, ", ".join(s.data), s.about) for s in table.SUITES]
        if json:
            show.as_json([s.to_json() for s in table.SUITES])
        else:
            show.out(show.table(rows, ("suite", "task", "data", "what it asks")))
        return
    row = table.get(suite)

    from pairwright.cli.load import load
    from pairwright.evaluate.protocol import evaluate as measure

    with show.bar(f"embedding for {suite}") as progress:
        result = measure(
            load(model),
            row,
            name=model,
            seeds=range(seeds),
            batch_size=batch_size,
            out=out,
            progress=lambda _, done, of: progress(done, of),
        )
    if json:
        show.as_json(result.to_json())
        return
    interval = lambda m: "" if m.low is None else f"{m.low:.3f} … {m.high:.3f}"
    rows = [(key, m.value, interval(m), m.n, "" if m.chance is None else m.chance) for key, m in result.metrics.items()]
    show.out(show.table(rows, ("metric", "value", "95% interval", "n", "chance")))
    if out is not None:
        show.note(f"written to {out}")
