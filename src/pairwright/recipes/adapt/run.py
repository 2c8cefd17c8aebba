"""`adapt`: the best classifier for your own images, from a few labels for each class, or from class names alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.features import ClassText, Features
from pairwright.evaluate.intervals import bootstrap, mean
from pairwright.evaluate.result import Number
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.models.embed import embed
from pairwright.quick import TEMPLATES, check_labels
from pairwright.recipes.adapt.clock import LEAST, Clock
from pairwright.recipes.adapt.forgot import Forgot, forgot, reference
from pairwright.recipes.adapt.learn import Learned, Wish, learn
from pairwright.recipes.adapt.methods import Forced, forced_method
from pairwright.recipes.adapt.offer import HEADS, Offer, affordable_offer, forced_offer
from pairwright.recipes.adapt.pictures import embedded
from pairwright.recipes.adapt.problem import Problem, read_problem
from pairwright.recipes.adapt.prompted import affordable
from pairwright.recipes.adapt.survey import Surveyed, survey
from pairwright.recipes.adapt.tuned import Tuned, tune
from pairwright.train.stop import Interrupted

Progress = Callable[[str, int, int], None]
NO_LABELS = "{} tunes weights on labelled images, and there are none."
WORK = 0.93
"""Share of the budget for everything but the report."""
LOOKING, EMBEDDING = 0.25, 0.6
"""Shares of what is left of the budget that reading the pictures, and then embedding them, may take; the rest is left out, fairly."""


@dataclass
class Adapted:
    """Everything that `adapt` found. learned: the classifier and its figures. asked: the labelled images, in the order of its rows.
    test: accuracy (or F1) on rows that the data call test. before, after: the fingerprint of the model that was given, and of the one that
    the classifier needs, which show whether weights moved. tuned: what became of weight tuning, where it was tried; forgot: what a tuned
    model that is handed over lost."""

    surveyed: Surveyed
    asked: Problem
    learned: Learned
    text: ClassText
    templates: str | list[str]
    model_name: str
    preprocess: dict[str, Any]
    before: str
    after: str
    test: Number | None = None
    wish: Wish = field(default_factory=Wish)
    budget: float = 0.0
    tuned: Tuned | None = None
    forgot: Forgot | None = None

    @property
    def problem(self) -> Problem:
        return self.surveyed.problem

    @property
    def notes(self) -> list[str]:
        """What was found in the data, then what to know about the figures."""
        return [*self.problem.notes, *self.learned.notes]


def adapt(
    model: Any,
    data: Any,
    *,
    labels: Sequence[str] | None = None,
    multi_label: bool = False,
    budget: float | Clock = 300.0,
    method: str | None = None,
    seed: int = 0,
    risk: float = 0.1,
    class_precision: float | None = None,
    templates: str | Sequence[str] | None = None,
    precision: str = "fp32",
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Adapted:
    """Find the best classifier for a folder or table of images, measure it honestly, and return it.

    data: a folder with a folder for each class, a table (CSV, JSONL, parquet) of paths and labels, or unlabelled images with `labels`,
    the class names. budget: seconds (or a clock that runs), reading and embedding included; what does not fit is left out, and that is
    said. method: force one method, by any name that `pairwright.find` knows; one that tunes weights (`ways.WAYS`: CLIP-LoRA, BitFit,
    WiSE-FT …) tunes a copy of the model. risk: the error rate that the answers given shall keep; less sure ones become "none of these".
    class_precision: for several classes an image, what each class's threshold reaches (the best F1 where None). templates: as in
    `classify`. precision: how pictures are computed, as in `pairwright.embed`; a tuned model is asked in fp32. The result is the same for
    a seed unless the budget cut it. An interrupt keeps the best so far.
    """
    if labels is not None:
        check_labels(labels)
    given, tell = budget if isinstance(budget, Clock) else Clock(budget), say or (lambda text: None)
    clock = given.part(WORK)
    watch = lambda what: None if progress is None else lambda done, total: progress(what, done, total)
    want = Forced() if method is None else forced_method(method, model, multi=multi_label)
    wish = Wish(method, seed, risk, precision=class_precision)
    before, mine = model.fingerprint, clock.part(LOOKING)
    seen = survey(read_problem(data, labels, multi_label=multi_label), watch("looking at images"), mine)
    clock.cut |= mine.cut
    if templates is None:
        templates = TEMPLATES.get(model.config.get("name", ""), "simple")
    text = class_text(model, seen.problem.names, templates, cache=io.cache_dir("class_text"))
    z_ND = torch.zeros(0, text.W_CD.shape[1])
    if seen.problem.labelled_N.any():  # without a label nothing is learned or measured, and class names are enough
        seen = seen.rows(seen.problem.labelled_N.tolist())
        mine = clock.part(EMBEDDING)
        seen, z_ND = embedded(model, seen, data, mine, precision, watch("embedding"))
        clock.cut |= mine.cut
    problem = seen.problem
    for note in problem.notes:
        tell(note)
    known = (problem.labelled_N & ~problem.test_N).tolist()
    asked = problem.rows(known)
    take = [i for i, k in enumerate(known) if k]
    train = Features(z_ND[take], asked.y, tuple(asked.ids), model.fingerprint, "train", classes=problem.names)
    weights, prompts, why = want.weights, [] if want.prompt is None else [want.prompt], ""
    if method is None and take and not problem.multi and clock.left >= LEAST:
        prompts, why = affordable(model, text, clock.left)
    groups, sources = [seen.group_N[i] for i in take], asked.sources
    price = lambda name, seconds: forced_offer(name, model, train, sources, templates, groups, seed, seconds)
    offer = price(weights, clock.left) if weights and take else None
    spare = (1 - HEADS) * clock.left
    fits = offer is not None and offer.plan(spare, forced=True) is not None
    how = {"wish": replace(wish, method=None) if weights else wish, "clock": clock.part(HEADS) if fits else clock}
    learned = learn(train, text, groups, **how, extra=prompts, progress=progress)
    learned.notes += [why] if why else []
    if weights and not fits:
        learned.notes.insert(0, NO_LABELS.format(weights) if offer is None else offer.refusal(spare))
    ask: Callable[[], tuple[Offer | None, str]] = lambda: (offer if fits else None, "")
    if method is None and take:
        ask = lambda: affordable_offer(model, train, sources, templates, groups, seed, clock.left)
    learned, tuned, lost = _tune(ask, learned, text, groups, sources, wish, clock, bool(weights), watch)
    for note in learned.notes:
        tell(note)
    out = Adapted(
        seen,
        asked,
        learned,
        text,
        templates if isinstance(templates, str) else list(templates),
        str(model.config.get("name", "")),
        dict(getattr(model.preprocess, "config", None) or {}),
        before,
        (model if tuned is None or not tuned.taken else tuned.model).fingerprint,
        wish=wish,
        budget=given.seconds,
        tuned=tuned,
        forgot=lost,
    )
    out.test = _test(out, z_ND)
    return out


def _tune(
    ask: Callable[[], tuple[Offer | None, str]], learned: Learned, text: ClassText, groups: Sequence[int], sources: Sequence[Any],
    wish: Wish, clock: Clock, forced: bool, watch: Callable[[str], Any],
) -> tuple[Learned, Tuned | None, Forgot | None]:  # fmt: skip
    """Tune if the budget holds it -> (what is handed over, what became of tuning, what was forgotten). An interrupt keeps the best."""
    if learned.interrupted:
        return learned, None, None
    tuned = lost = None
    try:
        offer, why = ask()
        learned.notes += [why] if why else []
        left = clock.left
        plan = None if offer is None else offer.plan(left, forced=forced)
        if plan is not None:
            tell = watch("tuning weights")
            learned, tuned = tune(offer.tuner, plan, learned, text, groups, sources, wish, clock, forced=forced, progress=tell)
            lost = forgot(offer.tuner.model, tuned.model, reference(offer.asked(left))) if tuned.taken else None
        elif offer is not None:
            learned.notes.insert(0, offer.refusal(left))
    except (KeyboardInterrupt, Interrupted):
        learned.interrupted = True
        what = "The tuning of weights" if tuned is None else "Measuring what was forgotten"
        learned.notes.insert(0, f"{what} was interrupted: this is the best that was found until then.")
    return learned, tuned, lost


def _test(out: Adapted, z_ND: Tensor) -> Number | None:
    """The classifier on the rows that the data call test: asked once, when everything is settled."""
    rows = (out.problem.labelled_N & out.problem.test_N).tolist()
    if not any(rows):
        return None
    at = [i for i, r in enumerate(rows) if r]
    c = out.learned.committee
    if out.tuned is not None and out.tuned.taken:
        z_MD = embed(out.tuned.model, images=[out.problem.sources[i] for i in at], skip_bad=False).z_ND
    else:
        z_MD = z_ND[at]
    right = c.kind.right(c.probabilities(Features(z_MD, encoder=out.after)), out.problem.y[at], c.thresholds_C)
    e = bootstrap(mean(right), [out.surveyed.group_N[i] for i in at])
    return Number(e.value, e.low, e.high, e.n, e.groups)


def answer_rows(out: Adapted) -> list[dict[str, Any]]:
    """What was said about each held-out image (one class each): row, truth, said, how sure; the surest errors first."""
    learned, rows = out.learned, []
    if out.problem.multi:
        return []
    for i in learned.rows_N.nonzero().squeeze(1).tolist():
        p_C, truth = learned.probs_NC[i], int(out.asked.y[i])
        said = int(p_C.argmax())
        place = int((p_C >= p_C[truth]).sum())
        rows.append({"row": i, "id": out.asked.ids[i], "truth": truth, "said": said, "sure": float(p_C[said]), "place": place})
    return sorted(rows, key=lambda r: (r["truth"] == r["said"], -r["sure"]))
