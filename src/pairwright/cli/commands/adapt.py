"""`pairwright adapt`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Model, Precision


def adapt(
    data: Annotated[Path, Parameter(help="Folder with a folder for each class, table of paths and labels, or folder of plain images.")],
    /,
    *,
    model: Model = "sprout",
    labels: Annotated[str | None, Parameter(help="Class names with commas between them, where the data do not name them.")] = None,
    labels_file: Annotated[Path | None, Parameter(help="Text file with one class name a line.")] = None,
    budget: Annotated[str, Parameter(help="Time for all of it, such as 30s, 5m or 1h.")] = "5m",
    method: Annotated[
        str | None,
        Parameter(
            help="Force one method, by any name that `pairwright find` knows: a head (Tip-Adapter), a prompt learner (CoOp), or weights "
            "(CLIP-LoRA, CLIP-SVD, LN-tuning, BitFit, FLYP, LP-FT, WiSE-FT)."
        ),
    ] = None,
    multi_label: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="An image may have several classes, or none: one_vs_rest, and all ways to tune weights but FLYP.",
        ),
    ] = False,
    risk: Annotated[float, Parameter(help='Largest share of wrong answers: less sure images become "none of these".')] = 0.1,
    class_precision: Annotated[
        float | None, Parameter(help="With --multi-label: share of right answers that each class shall reach (best F1 if not given).")
    ] = None,
    template: Annotated[
        tuple[str, ...], Parameter(negative="", show_default=False, help="Sentence with {} for the class name, or a shipped list.")
    ] = (),
    precision: Precision = "auto",
    out: Annotated[Path, Parameter(help="Folder for the classifier and its report.")] = Path("bundle"),
    seed: Annotated[int, Parameter(help="Of folds and draws.")] = 0,
    json: Json = False,
) -> int:
    """Make the best classifier for your own images.

    Says what it finds in your data, tries many methods within the budget, measures the choice on images that it has not seen, and writes a
    folder with the classifier and a report. Ctrl-C keeps the best so far.

    For example:

        pairwright adapt photos/ --budget 2m
        pairwright adapt table.csv --method "Tip-Adapter" --out bundle/
        pairwright adapt photos/ --method CLIP-LoRA --budget 1h
        pairwright adapt unsorted/ --labels "cat,dog"
    """
    began = time.monotonic()
    from pairwright.cli.commands.classify import templates_of
    from pairwright.cli.load import load
    from pairwright.quick import read_labels
    from pairwright.recipes.adapt.clock import Clock, seconds
    from pairwright.recipes.adapt.committee import describe
    from pairwright.recipes.adapt.page import to_json
    from pairwright.recipes.adapt.run import adapt as run
    from pairwright.serve.write import check_target, save_bundle

    clock = Clock(seconds(budget), began=began)  # what is imported and loaded counts
    for name, value in (("--risk", risk), ("--class-precision", class_precision)):
        if value is not None and not 0 < value < 1:
            raise ValueError(f"{name} is a share between 0 and 1, such as 0.1; got {value}")
    if class_precision is not None and not multi_label:
        raise ValueError("--class-precision belongs to --multi-label; for one class an image, --risk bounds the wrong answers")
    names = None if labels is None and labels_file is None else read_labels(labels, labels_file)
    check_target(out)
    if not data.exists():
        raise FileNotFoundError(f"{data} does not exist")
    encoder = load(model)
    with show.phases() as progress:
        made = run(
            encoder,
            data,
            labels=names,
            multi_label=multi_label,
            budget=clock,
            method=method,
            seed=seed,
            risk=risk,
            class_precision=class_precision,
            templates=templates_of(template),
            precision=precision,
            say=show.note,
            progress=progress,
        )
    save_bundle(made, out)
    if json:
        show.as_json({"out": str(out), **to_json(made)})
    else:
        percent = lambda x: f"{100 * x:.1f}%"
        span = lambda m: "" if m.low is None else f"{percent(m.low)} … {percent(m.high)}"
        show.out(f"chosen: {describe(made.learned.committee)}")
        if made.forgot is not None:
            show.out(f"zero-shot elsewhere ({made.forgot.suite}): {made.forgot.before} before, {made.forgot.after} after")
        if made.learned.metrics:
            rows = [(k.replace("_", " "), percent(m.value), span(m), m.n) for k, m in made.learned.metrics.items()]
            show.out(show.table(rows, ("figure", "value", "95% interval", "n")))
        show.out(f"report: {out / 'report.html'}\nuse it: pairwright classify --bundle {out} PATH")
    return 130 if made.learned.interrupted else 0
