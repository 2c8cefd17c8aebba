"""`pairwright bench-methods`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Model


def bench_methods(
    families: Annotated[
        str, Parameter(help="Folders of methods with commas between them: heads, prompts, heads/cache … Or `list`.")
    ] = "heads",
    /,
    *,
    suite: Annotated[
        str, Parameter(help="Few-shot suite, or its pack (emoji-apple). `bench-methods list` prints them.")
    ] = "emoji-few-shot",
    model: Model = "sprout",
    methods: Annotated[str | None, Parameter(help="Only these of the family, with commas between them.")] = None,
    shots: Annotated[str, Parameter(help="Labelled pictures a class, with commas between them.")] = "1,2,4,8,16",
    seeds: Annotated[int, Parameter(help="Draws of the shots; every method gets the same ones.")] = 5,
    setting: Annotated[
        str,
        Parameter(help="shots, base-to-new, cross, shift, sessions, unlabelled or transductive; see the page `How methods are compared`."),
    ] = "shots",
    to: Annotated[str | None, Parameter(help="Suites that cross and shift ask, with commas between them.")] = None,
    tuned: Annotated[
        bool, Parameter(negative="", show_default=False, help="Choose hyper-parameters on further labelled pictures; else their defaults.")
    ] = False,
    out: Annotated[Path | None, Parameter(help="Folder for the results; a killed run goes on there.")] = None,
    batch_size: Annotated[int, Parameter(help="Images embedded at a time.")] = 128,
    workers: Annotated[int | None, Parameter(help="Processes for methods on features; by default as many as pay.")] = None,
    json: Json = False,
) -> None:
    """Compare methods on one suite under one protocol, with intervals and paired tests.

    Every method of the index below the given folders learns from the same draws and answers the same questions. What cannot run here, or
    fails, is listed with the reason.

    For example:

        pairwright bench-methods list
        pairwright bench-methods heads --suite emoji-apple --shots 1,4,16 --out runs/heads
        pairwright bench-methods heads,prompts --suite fashion-mnist --methods gda,tip-adapter,coop --tuned
        pairwright bench-methods prompts --suite emoji-apple --setting base-to-new --shots 16 --out runs/base-to-new
        pairwright bench-methods heads --suite shapes-few-shot-natural --setting shift --to shapes-few-shot-dusk --json
    """
    from pairwright.cli.options import at_least_one
    from pairwright.suites import table

    if families == "list":
        found = [s for s in table.SUITES if s.task == "few_shot"]
        if json:
            show.as_json([s.to_json() for s in found])
        else:
            show.out(show.table([(s.name, ", ".join(s.data), s.about) for s in found], ("suite", "data", "what it asks")))
        return
    at_least_one("--seeds", seeds)
    at_least_one("--batch-size", batch_size)
    if workers is not None:
        at_least_one("--workers", workers)
    counts = numbers(shots)
    row, others = table.few_shot(suite), [table.few_shot(name) for name in words(to)]

    from pairwright.cli.load import load
    from pairwright.evaluate import scoreboard
    from pairwright.evaluate.contest import contest
    from pairwright.evaluate.methods import select
    from pairwright.evaluate.protocol import open_problem
    from pairwright.evaluate.settings import check
    from pairwright.evaluate.standings import standings
    from pairwright.evaluate.workers import sensible

    check(setting, others)
    chosen = select(words(families), words(methods))
    with show.bar("embedding") as progress:
        problem = open_problem(
            load(model), row, setting=setting, to=others, batch_size=batch_size, progress=lambda _, done, of: progress(done, of)
        )
    if workers is None:
        workers = sensible(len(chosen) * len(counts) * seeds)
    with show.bar("methods") as progress:
        found = contest(problem, chosen, shots=counts, seeds=range(seeds), tuned=tuned, out=out, progress=progress, workers=workers)
    result = standings(found)
    if out is not None:
        page = scoreboard.save(result, out)
    if json:
        show.as_json(result.to_json())
    else:
        show.out(scoreboard.markdown(result).rstrip())
    if out is not None:
        show.note(f"written to {page}")


def words(text: str | None) -> list[str]:
    return [w.strip() for w in (text or "").split(",") if w.strip()]


def numbers(text: str) -> list[int]:
    """Shots from ``1,2,4``."""
    try:
        found = [int(w) for w in words(text)]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise ValueError(f"--shots is {text!r}; give whole numbers from 1 on with commas between them, such as 1,4,16")
    return found
