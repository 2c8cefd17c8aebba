"""The settings in which methods are compared: what may be learned from, and what is asked. Each makes a `Problem` from opened parts.

shots: k labelled pictures of every class, asked on all. base-to-new: pictures of half of the classes, asked on those and on the others.
cross: learn on one suite's classes, asked on another's. shift: the same classes in another look. sessions: classes arrive in groups, one
after another. unlabelled: the shots come without labels. transductive: as shots, and all questions are seen at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pairwright.core.features import ClassText, Features
from pairwright.evaluate.problem import Exam, Pool, Problem, Step, Values
from pairwright.evaluate.shots import class_parts
from pairwright.metrics.harmonic import harmonic_mean

SESSIONS = 5
HARMONIC, AVERAGE, FORGETTING, OTHERS = "harmonic mean", "average over sessions", "forgetting", "mean of the others"


@dataclass(frozen=True)
class Part:
    """One opened suite: class text, rows to learn from, rows that are asked (labelled by class number) and the groups of both."""

    name: str
    text: ClassText
    pool: Pool
    pool_groups: Sequence[str]
    asked: Features
    groups: Sequence[str]

    @property
    def every(self) -> tuple[int, ...]:
        return tuple(range(len(self.text)))

    def exam(self, name: str, classes: Sequence[int], candidates: Sequence[int] | None = None) -> Exam:
        """The asked rows of some classes, among these classes (or other candidates)."""
        assert self.asked.y_N is not None
        rows = np.flatnonzero(np.isin(self.asked.y_N.numpy(), classes)).tolist()
        return Exam(name, self.asked.rows(rows), candidates or classes, [self.groups[i] for i in rows])


def make(setting: str, part: Part, others: Sequence[Part] = (), *, model: Any = None, sessions: int = SESSIONS, **more: Any) -> Problem:
    """The problem of a setting. others: the suites that cross and shift ask. more: other fields of the problem (`pictures`, `facts`)."""
    check(setting, others)
    names = [part.name, *(o.name for o in others)]
    if twice := [n for n in names if names.count(n) > 1]:
        raise ValueError(f"{twice[0]} is named twice: learn on one suite and ask others")
    if setting == "sessions":
        problem = in_sessions(part, sessions)
    else:
        problem = SETTINGS[setting](part, *([others] if others else []))
    return replace(problem, setting=setting, model=model, **{**more, "facts": {**problem.facts, **more.get("facts", {})}})


def check(setting: str, others: Sequence[Any]) -> None:
    """Refuse an unknown setting, and suites to ask where the setting takes none (or the other way round)."""
    if setting not in SETTINGS:
        near = get_close_matches(setting, SETTINGS, 1)
        raise ValueError(
            f"there is no setting {setting!r}; " + (f"did you mean {near[0]}?" if near else f"choose from {', '.join(SETTINGS)}")
        )
    if setting in ("cross", "shift") and not others:
        raise ValueError(f"setting {setting} learns on one suite and asks others: name them with --to SUITE")
    if others and setting not in ("cross", "shift"):
        raise ValueError(f"setting {setting} asks its own suite: leave out --to, or choose the setting cross or shift")


def shots(part: Part) -> Problem:
    return Problem(part.name, "", part.text, part.pool, (Step(part.every, part.every, (part.exam("", part.every),)),))


def base_to_new(part: Part) -> Problem:
    """Learn on half of the classes (by a hash of their names); asked on base among base, on new among new. The harmonic mean leads."""
    base, new = class_parts(part.text.names, 2, "base to new")
    step = Step(tuple(base), part.every, (part.exam("base", base), part.exam("new", new)))
    derive = lambda v: {HARMONIC: harmonic_mean(v["base"], v["new"])}
    return Problem(part.name, "", part.text, part.pool, (step,), derive=derive, lead=HARMONIC, facts={"base": len(base), "new": len(new)})


def cross(part: Part, others: Sequence[Part]) -> Problem:
    """Learn on this suite's classes; asked on the classes of each of the others, which no shot has shown."""
    texts = [part.text, *(o.text for o in others)]
    start = np.cumsum([0, *map(len, texts)]).tolist()
    names = tuple(n for t in texts for n in t.names)
    text = replace(part.text, W_CD=torch.cat([t.W_CD for t in texts]), names=names, prompts_CPD=_prompts(texts), negated_CKD=None)
    exams = [part.exam(part.name, part.every)]
    for first, other in zip(start[1:], others, strict=False):
        moved = replace(other, asked=replace(other.asked, y_N=other.asked.y_N + first))
        exams.append(moved.exam(other.name, range(first, first + len(other.text))))
    return Problem(
        part.name, "", text, part.pool, (Step(part.every, tuple(range(start[-1])), tuple(exams)),), **_mean_of([o.name for o in others])
    )


def shift(part: Part, others: Sequence[Part]) -> Problem:
    """Learn in one look; asked on the same classes there and in others. Concepts that the shots may show are asked nowhere."""
    seen = set(part.pool_groups)
    number = {n.casefold(): c for c, n in enumerate(part.text.names)}
    exams = [part.exam(part.name, part.every)]
    for other in others:
        assert other.asked.y_N is not None
        class_N = [number.get(other.text.names[c].casefold(), -1) for c in other.asked.y_N.tolist()]
        rows = [i for i, (c, g) in enumerate(zip(class_N, other.groups, strict=True)) if c >= 0 and g not in seen]
        if not rows:
            raise ValueError(f"{other.name} has no rows of the classes of {part.name} whose concepts are not among those to learn from")
        asked = replace(other.asked.rows(rows), y_N=np.array([class_N[i] for i in rows]))
        exams.append(replace(other, asked=asked, groups=[other.groups[i] for i in rows]).exam(other.name, part.every))
    return Problem(part.name, "", part.text, part.pool, (Step(part.every, part.every, tuple(exams)),), **_mean_of([o.name for o in others]))


def in_sessions(part: Part, sessions: int = SESSIONS) -> Problem:
    """Classes arrive in sessions; each shows shots of its own classes alone and asks all classes seen so far, session by session.

    The learner of a session is fitted on that session's rows with the text of all seen classes (rows are not kept). Scores: the accuracy
    after each session over all its questions, their average, and forgetting: how far, after the last session, each earlier session's
    accuracy lies below the best it had, on average (Chaudhry et al. 2018).
    """
    parts = class_parts(part.text.names, sessions, "sessions")
    steps, size = [], {}
    for t, new in enumerate(parts):
        known = tuple(sorted(c for p in parts[: t + 1] for c in p))
        exams = tuple(part.exam(f"after {t + 1}: session {s + 1}", parts[s], known) for s in range(t + 1))
        size |= {e.name: len(e) for e in exams}
        steps.append(Step(tuple(new), known, exams))

    def derive(v: Values) -> Values:
        at = lambda t, s: np.asarray(v[f"after {t + 1}: session {s + 1}"])
        n = [size[f"after {sessions}: session {s + 1}"] for s in range(sessions)]
        after = {f"after {t + 1}": sum(n[s] * at(t, s) for s in range(t + 1)) / sum(n[: t + 1]) for t in range(sessions)}
        last = sessions - 1
        lost = [np.max([at(t, s) for t in range(s, last)], axis=0) - at(last, s) for s in range(last)]
        return {**after, AVERAGE: np.mean(list(after.values()), axis=0), FORGETTING: np.mean(lost, axis=0)}

    return Problem(part.name, "", part.text, part.pool, tuple(steps), derive=derive, lead=AVERAGE, facts={"sessions": sessions})


def _prompts(texts: Sequence[ClassText]) -> Tensor | None:
    """Single prompts of several class texts, padded with zero rows; None where one of them has none."""
    found = [t.prompts_CPD for t in texts if t.prompts_CPD is not None]
    most = max((p.shape[1] for p in found), default=0)
    return torch.cat([pad(p, (0, 0, 0, most - p.shape[1])) for p in found]) if len(found) == len(texts) else None


def _mean_of(names: Sequence[str]) -> dict[str, Any]:
    if len(names) == 1:
        return {"lead": names[0]}
    return {"lead": OTHERS, "derive": lambda v: {OTHERS: np.mean([v[n] for n in names], axis=0)}}


SETTINGS: dict[str, Callable[..., Problem]] = {
    "shots": shots,
    "base-to-new": base_to_new,
    "cross": cross,
    "shift": shift,
    "sessions": in_sessions,
    "unlabelled": lambda part: replace(shots(part), labels=False),
    "transductive": lambda part: replace(shots(part), whole_test=True),
}
