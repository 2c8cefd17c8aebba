"""From facts to statements: which facts a caption mentions, and hard captions that differ from the truth in one respect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.grammar import ATTRIBUTES, Phrase, Statement
from pairwright.data.world.scene import Facts

Array = np.ndarray
MENTION = {"object": 1.0, "count": 1.0, "size": 1.0, "texture": 1.0, "colour": 1.0, "shape": 1.0, "position": 0.0, "relation": 1.0,
           "background": 0.0, "style": 0.0}  # fmt: skip
"""How often each fact is mentioned where it can be. ``object``: each object after the first."""
HARD = ("swap", "relation", "replace", "add")


def mention_rates(changes: Mapping[str, float] | None) -> dict[str, float]:
    """The default rates with some changed."""
    for name, rate in (changes or {}).items():
        if name not in MENTION:
            raise ValueError(f"nothing called {name!r} can be mentioned; choose from {', '.join(MENTION)}")
        if not 0 <= rate <= 1:
            raise ValueError(f"the mention rate of {name} must lie between 0 and 1, got {rate}")
    return {**MENTION, **(changes or {})}


def statements(facts: Facts, own: Draw, k: int, rates: Mapping[str, float], used: Mapping[str, int], one_fact_N: Array) -> list[Statement]:
    """The k-th caption of every scene as a statement. used: vocabulary sizes; a vocabulary of one word is never mentioned.

    one_fact_N: where True the caption names one attribute of one object and nothing else.
    """
    n, O = facts.shape_NO.shape
    said_NOA = own.uniform(f"mention {k}", O * len(ATTRIBUTES)).reshape(n, O, -1) < [rates[a] * (used.get(a, 2) > 1) for a in ATTRIBUTES]
    other_NO = facts.present_NO & (own.uniform(f"objects {k}", O) < rates["object"])
    other_NO[:, 0] = True
    relation_N = np.where(own.uniform(f"relation {k}") < rates["relation"], facts.relation_N, -1)
    background_N = np.where(own.uniform(f"background {k}") < rates["background"], facts.background_N, -1)
    style_N = np.where((own.uniform(f"style {k}") < rates["style"]) & (facts.style_N > 0), facts.style_N, -1)
    flip_N = own.uniform(f"order {k}") < 0.5
    lone_N = (own.uniform(f"lone object {k}") * facts.present_NO.sum(1)).astype(int)
    lone_U = own.uniform(f"lone fact {k}")
    values_NOA = np.where(said_NOA, np.stack([getattr(facts, f"{a}_NO") for a in ATTRIBUTES], -1), -1)
    out = []
    for i in range(n):
        if one_fact_N[i]:
            o = lone_N[i]
            ready = np.flatnonzero(values_NOA[i, o] >= 0)
            a = ready[int(lone_U[i] * len(ready))] if len(ready) else ATTRIBUTES.index("shape")
            out.append(Statement((Phrase(**{ATTRIBUTES[a]: int(getattr(facts, f"{ATTRIBUTES[a]}_NO")[i, o])}),)))
            continue
        who = [o for o in range(O) if other_NO[i, o]]
        phrases = tuple(Phrase(*values_NOA[i, o].tolist()) for o in who)
        related = int(relation_N[i]) if who[:2] == [0, 1] else -1
        s = Statement(phrases, related, int(background_N[i]), int(style_N[i]))
        out.append(s.flipped() if flip_N[i] else s)
    return out


def hard_statement(s: Statement, facts: Facts, i: int, kind: str, u: Array, used: Mapping[str, int]) -> Statement:
    """A statement in nearly the same words that is false of scene i. u: uniforms (4,). used: vocabulary sizes.

    swap: the first two objects exchange their colours. relation: the opposite relation. replace: one colour or shape becomes one that the
    scene has not. add: one more object, of a shape and colour that the scene has not.
    """
    absent = {a: _absent(getattr(facts, f"{a}_NO")[i][facts.present_NO[i]], used[a], a) for a in ("colour", "shape")}
    pick = lambda items, v: items[int(v * len(items))]
    if kind == "add":
        extra = Phrase(colour=pick(absent["colour"], u[0]), shape=pick(absent["shape"], u[1]), count=0 if used["count"] > 1 else -1)
        return replace(s, phrases=(*s.phrases, extra))
    if kind == "relation":
        if s.relation < 0:
            raise ValueError("this caption states no relation to turn round: use objects=2 and mention={'relation': 1.0}")
        return replace(s, relation=s.relation ^ 1)
    if kind == "swap":
        ready = [a for a in ("colour", "shape") if len(s.phrases) > 1 and min(getattr(s.phrases[0], a), getattr(s.phrases[1], a)) >= 0]
        if len(ready) < 2:
            raise ValueError(
                "swap needs captions that name colour and shape of two objects: objects=2, mention rates of colour and shape 1"
            )
        a, b, *rest = s.phrases
        return replace(s, phrases=(replace(a, colour=b.colour), replace(b, colour=a.colour), *rest))
    if kind == "replace":
        places = [(k, a) for k, p in enumerate(s.phrases) for a in ("colour", "shape") if getattr(p, a) >= 0]
        if not places:
            raise ValueError("replace needs captions that name a colour or a shape")
        k, a = pick(places, u[2])
        phrases = list(s.phrases)
        phrases[k] = replace(phrases[k], **{a: pick(absent[a], u[3])})
        return replace(s, phrases=tuple(phrases))
    raise ValueError(f"hard captions come as {', '.join(HARD)}; got {kind!r}")


def _absent(shown: Array, used: int, what: str) -> list[int]:
    left = sorted(set(range(used)) - set(shown.tolist()))
    if not left:
        raise ValueError(f"every {what} of the vocabulary is in the scene, so none can be named falsely: use more {what}s than objects")
    return left
