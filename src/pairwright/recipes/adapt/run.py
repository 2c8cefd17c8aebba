"""`adapt`: the best classifier for your own images, from a few labels for each class, or from class names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.features import ClassText, Features
from pairwright.evaluate.intervals import bootstrap, mean
from pairwright.evaluate.result import Number
from pairwright.evaluate.store import FeatureStore
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.models.embed import embed
from pairwright.quick import TEMPLATES, check_labels
from pairwright.recipes.adapt.clock import LEAST, Clock
from pairwright.recipes.adapt.forgot import Forgot, forgot, reference
from pairwright.recipes.adapt.learn import Learned, Wish, learn
from pairwright.recipes.adapt.offer import HEADS, Offer, affordable_offer, forced_offer
from pairwright.recipes.adapt.problem import Problem, read_problem
from pairwright.recipes.adapt.prompted import affordable, forced_prompt
from pairwright.recipes.adapt.survey import Surveyed, survey
from pairwright.recipes.adapt.tuned import Tuned, tune
from pairwright.recipes.adapt.weights import WAYS, forced_weights
from pairwright.train.stop import Interrupted

Progress = Callable[[str, int, int], None]
NO_LABELS = "{} tunes weights on labelled images, and there are none."
_PIECE = 512
"""Images embedded before the features are put on disk: what an interrupt can lose."""


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
    unlabelled_NC: Tensor | None = None
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
    budget: float = 300.0,
    method: str | None = None,
    seed: int = 0,
    risk: float = 0.1,
    class_precision: float | None = None,
    templates: str | Sequence[str] | None = None,
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Adapted:
    """Find the best classifier for a folder or table of images, measure it honestly, and return it.

    data: a folder with a folder for each class, a table (CSV, JSONL, parquet) of paths and labels, or unlabelled images with `labels`,
    the class names. budget: seconds, reading and embedding included; what does not fit is left out, and that is said. method: force one
    method, by any name that `pairwright.find` knows; one that tunes weights (CLIP-LoRA, CLIP-SVD, LN-tuning, FLYP, LP-FT) tunes a copy of
    the model. risk: the error rate that the answers given shall keep; less sure ones become "none of these". class_precision: for several
    classes an image, what each class's threshold reaches (the best F1 where None). templates: as in `classify`. The result is the same
    for a seed unless the budget cut it. An interrupt keeps the best so far.
    """
    if labels is not None:
        check_labels(labels)
    clock, tell = Clock(budget), say or (lambda text: None)
    watch = lambda what: None if progress is None else lambda done, total: progress(what, done, total)
    weights = None if method is None or multi_label else forced_weights(method)
    special = None if method is None or multi_label or weights else forced_prompt(method, model)
    wish = Wish(method, seed, risk, precision=class_precision)
    before = model.fingerprint
    seen = survey(read_problem(data, labels, multi_label=multi_label), watch("looking at images"))
    problem = seen.problem
    for note in problem.notes:
        tell(note)
    if templates is None:
        templates = TEMPLATES.get(model.config.get("name", ""), "simple")
    text = class_text(model, problem.names, templates, cache=io.cache_dir("class_text"))
    z_ND = _embed(model, seen, data, watch("embedding"))
    known = (problem.labelled_N & ~problem.test_N).tolist()
    asked = problem.rows(known)
    take = [i for i, k in enumerate(known) if k]
    train = Features(z_ND[take], asked.y, tuple(asked.ids), model.fingerprint, "train", classes=problem.names)
    prompts, why = [] if special is None else [special], ""
    if method is None and take and not problem.multi and clock.left >= LEAST:
        prompts, why = affordable(model, text, clock.left)
    groups, sources = [seen.group_N[i] for i in take], asked.sources
    price = lambda id_, seconds: forced_offer(id_, model, train, sources, templates, groups, seed, seconds)
    offer = price(weights, clock.left) if weights and take else None
    spare = (1 - HEADS) * clock.left
    fits = offer is not None and offer.plan(spare, forced=True) is not None
    how = {"wish": replace(wish, method=None) if weights else wish, "clock": clock.part(HEADS) if fits else clock}
    learned = learn(train, text, groups, **how, extra=prompts, progress=progress)
    learned.notes += [why] if why else []
    if weights and not fits:
        learned.notes.insert(0, NO_LABELS.format(WAYS[weights].name) if offer is None else offer.refusal(spare))
    ask: Callable[[], tuple[Offer | None, str]] = lambda: (offer if fits else None, "")
    if method is None and take and not problem.multi:
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
        budget=budget,
        tuned=tuned,
        forgot=lost,
    )
    out.test = _test(out, z_ND)
    if not take:
        out.unlabelled_NC = learned.committee.probabilities(Features(z_ND, encoder=model.fingerprint))
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


def _embed(model: Any, seen: Surveyed, data: Any, progress: Callable[[int, int], None] | None) -> Tensor:
    """Unit rows of all pictures, each content embedded once per model, kept on disk."""
    store = FeatureStore(model.fingerprint, io.cache_dir("adapt"))
    where = str(Path(data).resolve()) if isinstance(data, (str, Path)) else "memory"
    shelf = hashlib.sha256(where.encode(errors="surrogateescape")).hexdigest()[:16]
    source_of = {look.content: source for look, source in zip(seen.looks, seen.problem.sources, strict=True)}
    parts, total = [], len(seen.looks)
    for start in range(0, total, _PIECE):
        names = [look.content for look in seen.looks[start : start + _PIECE]]
        tell = None if progress is None else lambda done, _, start=start: progress(start + done, total)
        make = lambda new, tell=tell: embed(model, images=[source_of[c] for c in new], skip_bad=False, progress=tell or False).z_ND
        parts.append(store.get(shelf, names, make))
    if progress is not None:
        progress(total, total)
    return torch.cat(parts)


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
