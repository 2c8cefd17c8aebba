"""`pairwright train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json


def train(
    recipe: Annotated[str, Parameter(help="Name of a recipe; `pairwright train list` prints them.")],
    /,
    *,
    data: Annotated[str | None, Parameter(help="Table, folder or shards to train on; the recipe's own data where it is not given.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for checkpoints, log, run.json and the trained model.")] = None,
    resume: Annotated[bool, Parameter(negative="", show_default=False, help="Go on from the last checkpoint in --out.")] = False,
    batch: Annotated[int | None, Parameter(help="Pairs of one step, over all processes; short for --set batch=….")] = None,
    micro: Annotated[
        str | None, Parameter(help="Pairs in memory at a time (the step stays that of the whole batch), or auto: found by trying.")
    ] = None,
    set_: Annotated[
        tuple[str, ...], Parameter(name="--set", negative="", help="Change a field of the recipe: --set steps=1000. Repeat for more.")
    ] = (),
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="Print the configuration and stop.")] = False,
    json: Json = False,
) -> None:
    """Train a model by a recipe.

    A run can be killed at any moment and resumed exactly.

    For example:

        pairwright train list
        pairwright train sprout --out runs/sprout
        pairwright train clip --data pairs.parquet --out runs/mine --set steps=2000 --batch 256
        pairwright train sprout --out runs/sprout --resume
        pairwright train sprout --dry-run --json
        torchrun --nproc-per-node 4 -m pairwright train clip --data pairs.parquet --out runs/mine --batch 32768 --micro auto
    """
    from pairwright.cli import recipes
    from pairwright.cli.overrides import override
    from pairwright.core import dist

    if recipe == "list":
        found = recipes.available()
        if json:
            show.as_json([{"name": n, "about": a} for n, a in found.items()])
        else:
            show.out(show.table(list(found.items()), ("recipe", "what it trains")))
        return
    run, config = recipes.load(recipe)
    short = [f"{name}={value}" for name, value in (("batch", batch), ("micro", micro)) if value is not None]
    config = override(config, (*short, *set_))
    if dry_run:
        fields = recipes.as_dict(config)
        if json:
            show.as_json(fields)
        else:
            show.out(show.table(list(fields.items()), ("field", "value")))
        return
    if out is None:
        raise ValueError("--out is missing: name the folder that the run writes to")
    dist.start()
    if dist.same_on_all(out.is_dir() and any(out.iterdir())) and not resume:
        raise ValueError(f"{out} is not empty: add --resume to go on with the run in it, or choose another --out")
    run(data, out, resume=resume, config=config)
    first = dist.rank() == 0
    dist.stop()
    if not first:
        return
    if json:
        from pairwright.core.io import read_json

        show.as_json(read_json(out / "run.json"))
    else:
        show.note(f"done: {out}")
