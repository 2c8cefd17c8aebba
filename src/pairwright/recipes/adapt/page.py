"""The report of an adaptation: one page for people, one JSON file for programs, both from the same figures."""

from __future__ import annotations

import io as memory
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pairwright.core import io
from pairwright.core.provenance import commit, processor, versions
from pairwright.data.images import open_image
from pairwright.evaluate import plots, report
from pairwright.evaluate.intervals import bootstrap, mean
from pairwright.evaluate.report import Cards, Commands, Facts, Failures, Plots, Section, Table, Tile
from pairwright.evaluate.result import Number
from pairwright.recipes.adapt.committee import describe
from pairwright.recipes.adapt.confusion import confusion_svg, confusions
from pairwright.recipes.adapt.forgot import Forgot
from pairwright.recipes.adapt.learn import FOLDS, SPLIT
from pairwright.recipes.adapt.run import Adapted, answer_rows

WORST = 12
_MEANS = {
    "accuracy": "Share of images that get the right class, by classifiers that were chosen and fitted without them.",
    "f1": "F1 of the classes of an image, averaged over images, by classifiers that were chosen and fitted without them.",
    "best_heads_f1": "The same images, by the best heads on the model as it was.",
    "best_heads_accuracy": "The same images (those that both were asked), by the best heads on the model as it was.",
    "zero_shot_accuracy": "The same images, by class names alone, with nothing learned.",
    "zero_shot_f1": "The same images, by class names alone (thresholds fitted to your labels).",
    "mean_per_class_recall": "Every class counts the same, however many images it has.",
    "answered": "Share of images that are sure enough to be answered; the others are “none of these”.",
    "errors_among_answered": "Share of wrong answers among those that are given.",
    "mean_average_precision": "How well each class ranks the images, averaged over classes.",
}


@dataclass(frozen=True)
class Sentences(Section):
    """Remarks in plain words, a card each."""

    sentences: Sequence[str] = ()


def write_report(out: Adapted, folder: Path) -> None:
    """report.html and report.json in a folder."""
    io.write_text(folder / "report.html", page(out))
    io.write_json(folder / "report.json", to_json(out))


def to_json(out: Adapted) -> dict[str, Any]:
    """Everything the page is made from."""
    learned, names = out.learned, out.problem.names
    return {
        "classes": list(names),
        "multi_label": out.problem.multi,
        "model": out.model_name,
        "fingerprint": out.after,
        "weights_unchanged": out.before == out.after,
        "tuned": None if out.tuned is None else out.tuned.to_json(),
        "forgot": None if out.forgot is None else out.forgot.to_json(),
        "chosen": [{"id": m.id, "label": m.label} for m in learned.committee.members],
        "protocol": learned.protocol,
        "metrics": {k: asdict(v) for k, v in learned.metrics.items()},
        "gain_over_zero_shot": None if learned.gain is None else {k: _float(v) for k, v in asdict(learned.gain).items()},
        "test": None if out.test is None else asdict(out.test),
        "threshold": learned.committee.threshold if learned.promised else None,
        "risk": out.wish.risk,
        "thresholds": None if learned.committee.thresholds_C is None else learned.committee.thresholds_C.tolist(),
        "notes": out.notes,
        "cut": learned.cut,
        "interrupted": learned.interrupted,
        "seed": out.wish.seed,
        "budget": out.budget,
        "seconds": learned.seconds,
        "tried": [
            {
                "id": t.candidate.id,
                "label": t.candidate.label,
                "state": t.state,
                "why": t.why,
                "seconds": t.seconds,
                "asked": int(learned.search.rows(t.folds).sum()) if t.folds else 0,
                "value": None if (n := _trial(out, t)) is None else asdict(n),
            }
            for t in learned.search.trials
        ],
        "chosen_in_outer_folds": [] if learned.outer is None else learned.outer.chosen,
        "curve": [asdict(p) for p in learned.curve],
        "answers": [{**r, "truth": names[r["truth"]], "said": names[r["said"]]} for r in answer_rows(out)],
        "conflicts": out.surveyed.conflicts,
        "skipped": dict(out.problem.skipped),
        "commit": commit(),
        "versions": versions(),
    }


def page(out: Adapted) -> str:
    """The report as one page of HTML."""
    learned, names = out.learned, out.problem.names
    rows = answer_rows(out)
    head = next(iter(learned.metrics.values()), None)
    title = "Your classifier" if head is None else f"Right {100 * head.value:.0f} times in 100"
    if head is not None and (out.problem.multi or learned.protocol == "none"):
        title = "Your classifier"
    sections: list[Section] = []
    if learned.metrics:
        lead = {
            "nested": "Measured by nested cross-validation: each image was asked of a classifier whose methods, settings and weights were "
            "all chosen without it. Yours learned from all images, so expect it at or a little above these figures.",
            "partly nested": "Measured by nested cross-validation, on a part of the folds.",
            FOLDS: "The model was tuned anew without each fold of your images, and asked that fold. Yours learned from all images, so "
            "expect it at or a little above these figures.",
            SPLIT: "The model was tuned without a part of your images, and asked that part: the budget held no folds. Yours learned from "
            "all of them.",
            "folds of the choice": "Measured on the rows on which the methods were chosen, which flatters them.",
        }.get(learned.protocol, "Nothing could be measured but zero-shot, which learns nothing.")
        cards = [(_title(k), v, _MEANS[k]) for k, v in learned.metrics.items() if k in _MEANS]
        if out.test is not None:
            cards.insert(1, ("Your test images", out.test, "The finished classifier on the images that your data call test, asked once."))
        sections.append(Cards("figures", "Figures", "How good is it?", lead, cards))
    sections.append(
        Sentences("know", "To know", "What to know", "What was found in your images, and how far to believe the figures.", out.notes)
    )
    drawn = _plots(out, rows)
    if drawn:
        sections.append(Plots("plots", "Plots", "Where it stands", "With 95% intervals.", drawn))
    wrong = [r for r in rows if r["truth"] != r["said"]]
    if wrong:
        shown = [(_tile(out, r), names[r["said"]], r["sure"], names[r["truth"]], r["place"]) for r in wrong[:WORST]]
        lead = f"The surest of {len(wrong)} errors among {len(rows)} images. Look at the labels first: some of these may be right."
        sections.append(Failures("worst", "Worst", "What it gets wrong", lead, shown))
        pairs = [(names[t], names[s], str(n)) for t, s, n in confusions(rows)[:10]]
        sections.append(
            Table("mixed", "Mixed up", "What is taken for what", "The ten commonest errors.", ("true", "said", "times"), (), pairs)
        )
    sections += [_tried(out), _forgot(out), _use(out), _facts(out)]
    chips = [f"{len(out.asked.ids)} labelled images", f"{len(names)} classes", out.model_name or "a model", f"seed {out.wish.seed}"]
    return report.render(title, f"{describe(learned.committee)}.", chips, sections, f"Written by pairwright, commit {commit()[:12]}.")


def _title(key: str) -> str:
    special = {"f1": "F1", "zero_shot_f1": "Zero-shot F1", "best_heads_f1": "F1 of the best heads"}
    return special.get(key, key.replace("_", " ").replace("zero shot", "zero-shot").capitalize())


def _plots(out: Adapted, rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    learned, drawn = out.learned, []
    points = learned.curve
    if len(points) >= 2:
        ahead = sum(p.ahead for p in points)
        line = plots.Curve("yours", *([getattr(p, k) for p in points] for k in ("labels", "value", "low", "high")), ahead=ahead)
        base = learned.metrics["zero_shot_accuracy"].value
        svg = plots.curve("curve", "Accuracy over labels a class", [line], ("zero-shot", base), xlabel="labels a class", ylabel="right")
        say = "The chosen methods, fitted on fewer of your labels and asked on images they did not see."
        if ahead:
            p = points[-ahead]
            say += (
                f" Dashed is an extrapolation, not a measurement: with twice the labels about {100 * p.value:.0f}% "
                f"({100 * p.low:.0f} to {100 * p.high:.0f}), if errors go on falling by the same power of the labels."
            )
        drawn.append(("What more labels would buy", svg, say))
    if rows:
        sure = [r["sure"] for r in rows]
        svg = plots.reliability("sure", "How sure and how right", sure, [r["truth"] == r["said"] for r in rows])
        drawn.append(("Can its confidence be believed?", svg, "On the line, it is right as often as it says. Large dots: many images."))
        svg = confusion_svg(rows, out.problem.names)
        drawn.append(("What is taken for what", svg, "A row for each true class, a column for what was said; the classes confused most."))
    return drawn


def _tile(out: Adapted, r: dict[str, Any]) -> Tile:
    picture = memory.BytesIO()
    image = open_image(out.asked.sources[r["row"]], at_least=192, alpha=True)
    image.thumbnail((192, 192))
    image.save(picture, "PNG")
    return Tile(picture.getvalue(), r["id"], r["id"])


def _trial(out: Adapted, trial: Any) -> Number | None:
    if not trial.folds or trial.state == "failed":
        return None
    search = out.learned.search
    rows_N = search.rows(trial.folds)
    y, kind = search.train.y_N[rows_N], search.kind
    a, b = kind.calibrate(trial.logits_NC[rows_N], y)
    e = bootstrap(mean(kind.right(kind.probabilities(a * trial.logits_NC[rows_N] + b), y)), rows_N.nonzero().squeeze(1).numpy(), draws=400)
    return Number(e.value, e.low, e.high, e.n, e.groups)


def _tried(out: Adapted) -> Table:
    taken = {(m.id, m.label) for m in out.learned.committee.members}
    body = []
    for t in out.learned.search.trials:
        number = _trial(out, t)
        state = {"dropped": "left out after the first folds", "no time": "no time", "failed": f"failed: {t.why}"}.get(t.state, t.state)
        chosen = "chosen" if (t.candidate.id, t.candidate.label) in taken else state
        body.append((number, (t.candidate.label, "" if number is None else number, f"{t.seconds:.1f}\u00a0s", chosen)))
    if (tuned := out.tuned) is not None:
        outcome = "chosen" if tuned.taken else "not better beyond doubt"
        body.append((tuned.value, (tuned.label, tuned.value or "", f"{tuned.seconds:.1f}\u00a0s", outcome)))
    body.sort(key=lambda x: -1.0 if x[0] is None else -x[0].value)
    lead = (
        "All candidates were asked on half of the inner folds, the better half of them on the rest; the best answer together. These "
        "figures made the choice, so they flatter the chosen: the figure at the top does not come from them."
    )
    return Table("tried", "Tried", "What was tried", lead, ("method", "held-out", "time", "outcome"), (), [r for _, r in body])


def _forgot(out: Adapted) -> Section:
    alone = "The classifier answers with your classes alone. A picture of anything else is “none of these” only if it is not sure enough."
    moved = f"(fingerprint {out.before} before, {out.after} after)"
    if out.forgot is None:
        same = out.before == out.after
        said = f"The encoder's weights are {'the same, bit for bit' if same else 'NOT the same'} {moved}. "
        if same:
            said += "What it could do without labels, it can do still, by construction; an index or bundle made with it stays valid."
        lead = "Methods that learn on frozen features cannot forget; this checks that they did not."
        return Sentences("forgot", "Forgot", "What it forgot", lead, [said, alone])
    f = out.forgot
    lead = (
        f"The weights moved {moved}, so an index made with the model as it was needs making anew. Both were asked, zero-shot, something "
        f"that has nothing to do with your classes: {f.about} ({f.suite}, {f.before.n} pictures). {forgot_in_words(f)} {alone}"
    )
    cards = [("Before", f.before, "The model as it was."), ("After", f.after, "The model with tuned weights.")]
    return Cards("forgot", "Forgot", "What it forgot", lead, cards)


def forgot_in_words(f: Forgot) -> str:
    """``The change is -2.1 points (-3.5 … -0.8): it forgot something.``"""
    c = f.change
    span = "" if c.low is None else f" ({100 * c.low:+.1f} … {100 * c.high:+.1f})"
    if f.before.low is not None and f.before.low <= (f.before.chance or 0.0):
        verdict = "the model knew hardly more than chance to begin with, so this says little"
    else:
        verdict = "it forgot something" if c.high is not None and c.high < 0 else "no loss beyond doubt"
    return f"The change is {100 * c.value:+.1f} points{span}: {verdict}."


def _use(out: Adapted) -> Commands:
    commands = [
        ("Classify images:", "pairwright classify --bundle BUNDLE photos/"),
        ("The same in Python:", 'pw.load_bundle("BUNDLE").classify("photos/")'),
        ("Again, with more time:", "pairwright adapt DATA --budget 15m"),
    ]
    return Commands("use", "Use", "How to use it", "BUNDLE is the folder that holds this page.", commands)


def _facts(out: Adapted) -> Facts:
    learned = out.learned
    facts = {
        "model": f"{out.model_name} ({out.after})",
        "templates": out.templates if isinstance(out.templates, str) else "; ".join(out.templates),
        "members": describe(learned.committee),
        "figure from": learned.protocol,
        "abstains below": f"{learned.committee.threshold:.2f}, to keep errors under {100 * out.wish.risk:.0f}%"
        if learned.promised
        else "never",
        "budget": f"{out.budget:g} s, of which {learned.seconds.get('total', 0.0):.0f} s were used",
        "processor": processor(),
        "threads": str(torch.get_num_threads()),
    }
    return Facts("facts", "Facts", "Facts", "Enough to do it again.", facts)


def _float(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else float(value)
