"""Methods behind one face, found through the method index: what each needs, why it cannot run, and how it learns and answers.

The contracts of core/contracts.py decide how a method is asked: a head is fitted on features and text, a prompt learner on features and
class names inside the model's text tower, a transductive head sees all rows of an exam at once, a stream head one after another.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.core.find import plain
from pairwright.core.index import Entry, entries
from pairwright.core.numerics import generator
from pairwright.evaluate.problem import Exam, Problem, Step

ZERO_SHOT = "heads/zero_shot/classifier"
"""What every method is compared with."""
FACES = ("head", "transductive", "stream", "prompt", "deep prompt")


@dataclass(frozen=True)
class Given:
    """What a method may learn from in one step: rows (labels count within `text` for heads, within `names` for prompt learners)."""

    train: Features
    val: Features | None
    step: Step
    problem: Problem
    seed: int

    @property
    def text(self) -> ClassText:
        return self.problem.text.classes(list(self.step.known))

    @property
    def names(self) -> list[str]:
        return [self.problem.text.names[c] for c in self.step.learn]

    def rows(self, classes: Sequence[int], f: Features | None) -> Features | None:
        """Rows with labels that count within `classes` (without labels where the problem gives none)."""
        if f is None or f.y_N is None:
            return f
        place = {c: j for j, c in enumerate(classes)}
        y_N = torch.tensor([place[c] for c in f.y_N.tolist()], dtype=torch.int64) if self.problem.labels else None
        return Features(f.z_ND, y_N, f.ids, f.encoder, f.split, f.tokens_NMD, f.side)


Answer = Callable[[Exam], Tensor]
"""An exam -> scores of its rows for its candidates (N, C)."""


@dataclass(frozen=True)
class Method:
    """One method: id (its name in results), title, make (a fresh one with its defaults), face, needs, and what the index says of it."""

    id: str
    title: str
    make: Callable[[], Any]
    face: str
    needs: frozenset[str]
    status: str = ""

    @property
    def learns(self) -> bool:
        """Whether its answers depend on the shots; others answer once, for all numbers of shots."""
        return "prompt" in self.face or "train" in self.needs

    @property
    def on_features(self) -> bool:
        """Whether it runs without the model, on rows alone."""
        return "prompt" not in self.face

    @property
    def chooses(self) -> bool:
        """Whether it can choose its hyper-parameters on val."""
        return self.face in ("head", "prompt") and "val" in inspect.signature(self.make.fit).parameters  # type: ignore[attr-defined]

    def why_not(self, problem: Problem) -> str:
        """Why it cannot run on this problem, ``""`` where nothing is known to forbid it (it may still refuse by itself)."""
        if "tokens" in self.needs:
            return "needs patch tokens; the protocol keeps image embeddings only"
        if "grades" in self.needs:
            return "learns how much of something a picture shows; the classes of this problem are no grades"
        if side := [n.removeprefix("side.") for n in self.needs if n.startswith("side.")]:
            return f"needs a second feature ({side[0]}) of each picture; this suite has none"
        if self.face in ("transductive", "stream") and not problem.whole_test:
            return "learns from the questions: ask for the setting transductive"
        if "prompt" in self.face and problem.model is None:
            return "needs class names and the text tower: give a model, not features alone"
        if self.face == "deep prompt" and problem.pictures is None:
            return "learns inside the image tower and needs the pictures, not their features"
        if not problem.labels and "train" in self.needs:
            return "needs labels; this setting gives none"
        new = any(set(e.classes) - set(s.learn) for s in problem.steps for e in s.exams)
        if new and self.face == "head" and "text" not in self.needs:
            return "reads no class names, so it cannot name classes of which it sees no picture"
        return ""

    def learn(self, given: Given) -> Answer:
        """Fit a fresh one and return how it answers."""
        return _LEARN[self.face](self.make(), given)


def _head(head: Any, given: Given) -> Answer:
    known = given.step.known
    train = given.rows(known, given.train) if "train" in head.needs else None
    head.fit(train, given.text, **_val(head, given, known))
    place = {c: j for j, c in enumerate(known)}
    return lambda exam: head.logits(exam.x)[:, [place[c] for c in exam.classes]]


def _transductive(head: Any, given: Given) -> Answer:
    takes = inspect.signature(head.fit_logits).parameters
    needs = getattr(head, "needs", frozenset())

    def answer(exam: Exam) -> Tensor:
        more = {"train": given.rows(exam.classes, given.train)} if "train" in takes and "train" in needs else {}
        return head.fit_logits(exam.x, given.problem.text.classes(list(exam.classes)), **more)

    return answer


def _stream(head: Any, given: Given) -> Answer:
    """One row after another, in an order drawn from the seed; each row is its own only view."""

    def answer(exam: Exam) -> Tensor:
        text = given.problem.text.classes(list(exam.classes))
        if hasattr(head, "fit"):
            head.fit(given.rows(exam.classes, given.train) if "train" in getattr(head, "needs", ()) else None, text)
        head.reset()
        order = torch.randperm(len(exam), generator=generator("stream", given.seed, len(exam)))
        score_NC = torch.empty(len(exam), len(text))
        for i in order.tolist():
            score_NC[i] = head.step(exam.x.z_ND[i : i + 1])
        return score_NC

    return answer


def _prompt(learner: Any, given: Given) -> Answer:
    model, names = given.problem.model, given.problem.text.names
    learner.fit(model, given.names, given.rows(given.step.learn, given.train), **_val(learner, given, given.step.learn))

    def answer(exam: Exam) -> Tensor:
        asked = [names[c] for c in exam.classes]
        if hasattr(learner, "logits"):  # its class text depends on the image
            return learner.logits(model, asked, exam.x)
        text = learner.text(model, asked)
        return text.scale * exam.x.z_ND @ text.W_CD.T

    return answer


def _deep_prompt(learner: Any, given: Given) -> Answer:
    """Tokens inside the image tower learn from pictures, which are decoded batch by batch, and every question is embedded anew."""
    from pairwright.prompts.images import Images

    model, names, see = given.problem.model, given.problem.text.names, given.problem.pictures
    train = given.rows(given.step.learn, given.train)
    learner.fit(model, given.names, Images(_Decoded(train.ids, see), train.y_N))

    def answer(exam: Exam) -> Tensor:
        z_ND = learner.image_features(model, Images(_Decoded(exam.x.ids, see))).z_ND
        text = learner.text(model, [names[c] for c in exam.classes])
        return text.scale * z_ND @ text.W_CD.T

    return answer


@dataclass(frozen=True)
class _Decoded:
    """Preprocessed pictures by row numbers, made when they are asked for."""

    ids: Sequence[str]
    see: Callable[[Sequence[str]], Tensor]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.see([self.ids[i] for i in rows.tolist()])


_LEARN: dict[str, Callable[[Any, Given], Answer]] = dict(zip(FACES, (_head, _transductive, _stream, _prompt, _deep_prompt), strict=True))


def _val(method: Any, given: Given, classes: Sequence[int]) -> dict[str, Any]:
    """The rows to choose hyper-parameters on, for methods that take them."""
    takes = given.val is not None and "val" in inspect.signature(method.fit).parameters  # as in `Method.chooses`
    return {"val": given.rows(classes, given.val)} if takes else {}


def method_of(entry: Entry) -> Method | None:
    """The method behind an index entry, or None where it is of a kind that answers no classification."""
    cls = entry.load()
    face = face_of(cls)
    return face and Method(entry.id, entry.card.name, cls, face, frozenset(getattr(cls, "needs", ())), entry.status)


def face_of(cls: Any) -> str | None:
    """Which contract a class follows."""
    if not isinstance(cls, type):
        return None
    has = lambda *names: all(hasattr(cls, n) for n in names)
    if has("class_text", "fit"):
        return "deep prompt" if has("image_features") else "prompt"
    if has("fit_logits"):
        return "transductive"
    if has("step", "reset"):
        return "stream"
    return "head" if has("fit", "logits") else None


def select(families: Sequence[str] = ("heads",), only: Sequence[str] = ()) -> list[Method]:
    """The methods below some folders of the index (``heads``, ``prompts``, ``heads/cache``) or of some names, heads first.

    only: keep these (ids, last parts of ids, class names or paper names). An unknown family or name is answered with the nearest known.
    Zero-shot is always among them.
    """
    found: dict[str, Entry] = {}
    for family in families:
        below = entries(family) if family.strip("/ ") else []
        if not below:
            folders = sorted({p for e in entries() for p in (e.id.split("/")[0], e.kind)})
            raise ValueError(f"no methods below {family!r}; {_nearest(family, folders, 'folders with methods')}")
        found |= {e.id: e for e in below}
    wanted = [_named(name, list(found.values())) for name in only] or list(found.values())
    ids = dict.fromkeys([ZERO_SHOT, *(e.id for e in wanted)])
    methods = [method_of(next(e for e in entries(id_) if e.id == id_)) for id_ in ids]
    return sorted((m for m in methods if m), key=lambda m: (m.id != ZERO_SHOT, FACES.index(m.face), m.id))


def _named(name: str, among: Sequence[Entry]) -> Entry:
    names = {
        plain(n): e for e in among for n in (e.card.paper.removeprefix("extra:"), e.card.name, e.symbol, e.id.rsplit("/", 1)[-1], e.id)
    }
    if plain(name) not in names:
        raise ValueError(f"no method {name!r} among these; {_nearest(name, [e.id.rsplit('/', 1)[-1] for e in among], 'methods')}")
    return names[plain(name)]


def _nearest(name: str, known: Sequence[str], what: str) -> str:
    near = get_close_matches(name, known, 1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"the {what} are {', '.join(known)}"
