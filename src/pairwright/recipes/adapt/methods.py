"""Which method does a name force: a head, a prompt learner, or a way to tune weights? A wrong name is answered with near ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from pairwright.core.find import find, names_of, plain
from pairwright.core.index import entries
from pairwright.recipes.adapt.portfolio import Candidate, NoHead, forced, is_head
from pairwright.recipes.adapt.prompted import Prompted, forced_prompt, is_candidate
from pairwright.recipes.adapt.ways import WAYS, forced_weights

_NEAR, _MOST = 0.6, 4


@dataclass(frozen=True)
class Forced:
    """What a name means: one of heads (zero-shot first, to compare with), a prompt learner, or the name of a way to tune weights."""

    heads: Sequence[Candidate] = ()
    prompt: Prompted | None = None
    weights: str | None = None


def forced_method(name: str, model: Any, *, multi: bool = False) -> Forced:
    """The method of a name that `pairwright find` knows. multi: several classes an image. Raises ValueError, with what would do instead."""
    if (way := forced_weights(name)) is not None:
        if multi and not WAYS[way].several:
            raise ValueError(f"{way} learns one class for each image; {several()}")
        return Forced(weights=way)
    prompt = forced_prompt(name, model)
    if prompt is not None:
        if multi:
            raise ValueError(f"{prompt.label.partition(',')[0]} learns one class for each image; {several()}")
        return Forced(prompt=prompt)
    try:
        return Forced(heads=forced(name, multi=multi))
    except NoHead as e:
        if e.head is not None:
            raise ValueError(f"{e.head.card.name} takes one class for each image; {several()}") from None
    known = [e for e in (find(name, 1) if plain(name) else []) if e.id not in {way.id for way in WAYS.values()}]
    other = f": that is {known[0].card.name} [{known[0].id}], which makes no classifier from labels" if known else ""
    near = close(name)
    raise ValueError(
        f"--method cannot be {name!r}{other}; "
        + (f"close to it are {', '.join(near)}" if near else f"it takes heads, prompt learners (`pairwright find`), and {', '.join(WAYS)}")
    )


def several() -> str:
    """What takes several classes an image, in words."""
    return f"with several classes an image the methods are one_vs_rest, zero-shot, {', '.join(w for w, way in WAYS.items() if way.several)}"


def close(name: str) -> list[str]:
    """Names that `--method` takes and that are near a name, nearest first."""
    wanted, found = plain(name), {}
    known = [(e.card.name.partition(" (")[0], names_of(e), e) for e in entries() if e.kind.startswith(("heads", "prompts"))]
    for shown, names, e in (*known, *((w, [w, *way.names], None) for w, way in WAYS.items())):
        like = max(SequenceMatcher(None, wanted, plain(n), autojunk=False).ratio() for n in names if plain(n))
        if like >= _NEAR:
            found[shown] = max(like, found.get(shown, (0.0,))[0]), e
    best = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    usable = (shown for shown, (_, e) in best if e is None or (is_head if e.kind.startswith("heads") else is_candidate)(e))
    return [shown for shown, _ in zip(usable, range(_MOST), strict=False)]
