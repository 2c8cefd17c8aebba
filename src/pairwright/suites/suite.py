"""A suite: which rows are asked, what the text is, what counts as right, which number leads. One row of a table; it never opens data.

`Suite.ask(table)` turns rows that evaluate has opened into `Questions`: pictures, candidate texts, and which belong together. It is a
pure function of the table, so the whole protocol can be read, and tested, on a table made by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Task = Literal["retrieve", "classify", "few_shot"]


@dataclass(frozen=True)
class Questions:
    """What a model is asked.

    image_N: encoded pictures (bytes); id_N, group_N: their names and the group they share luck with (a concept, a title); text_T: the
    candidate texts, each once; true_P2: int64 (picture, text) pairs that belong together, at least one for every picture and text asked
    (a classification has exactly one per picture); learn_N: True for rows that few-shot learning may see, False for those asked.
    """

    image_N: list[bytes]
    id_N: list[str]
    group_N: list[str]
    text_T: list[str]
    true_P2: np.ndarray
    learn_N: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.image_N)

    @property
    def label_N(self) -> np.ndarray:
        """The one true text of each picture (int64); a ValueError where a picture has several."""
        if len(self.true_P2) != len(self) or not np.array_equal(np.sort(self.true_P2[:, 0]), np.arange(len(self))):
            raise ValueError("these questions have several right answers per picture: ask them as retrieval, not as classification")
        return self.true_P2[np.argsort(self.true_P2[:, 0]), 1]


@dataclass(frozen=True)
class Suite:
    """Named data under a protocol.

    data: packs (or ``world``), asked together as one set. splits, concepts: which rows are asked: rows of these splits, and, where
    concepts is ``train`` or ``test``, only those whose concept is used, or held out, in training (a held-out vendor draws both). text:
    the column the text comes from (``name``, ``label``, ``category``), or ``captions``: the first caption in each of `langs`, or
    ``captions*``: every caption. among: candidate texts are those of the rows asked (``asked``) or of all rows of the data (``all``).
    templates: a list of prompts (a name in data/text/templates, or templates): classes are the mean over all, retrieval uses the first.
    ks: cut-offs. cluster: the column whose equal values share luck, for intervals (``group`` or ``id``). min_class: a class with fewer
    groups is not asked. learn: how few-shot rows are parted: ``halves`` of the groups of each class, or ``split``: the data's own train
    rows. shots: pictures per class. headline: the metric that leads. seen: the shipped model's training saw these pictures (with other
    texts): such a suite compares heads, not models.
    """

    name: str
    about: str
    task: Task
    data: tuple[str, ...]
    splits: tuple[str, ...] = ("test",)
    concepts: Literal["", "train", "test"] = ""
    text: str = "name"
    langs: tuple[str, ...] = ("en",)
    among: Literal["asked", "all"] = "asked"
    templates: str | tuple[str, ...] = ("{}",)
    ks: tuple[int, ...] = (1, 5, 10)
    cluster: Literal["group", "id"] = "group"
    min_class: int = 1
    learn: Literal["", "halves", "split"] = ""
    shots: tuple[int, ...] = ()
    headline: str = ""
    seen: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def ask(self, asked: pa.Table, everything: pa.Table | None = None) -> dict[str, Questions]:
        """Rows -> questions, one set per language (keys ``""`` for English alone). everything: all rows of the data, for `among`."""
        asked = _drop_small(asked, self.text, self.min_class)
        texts = texts_of(asked, self.text, self.langs)
        pool = texts_of(everything, self.text, self.langs) if self.among == "all" and everything is not None else texts
        found = {}
        for lang, texts_N in texts.items():
            keep = [i for i, own in enumerate(texts_N) if own]
            if keep:
                part = "" if self.langs == ("en",) else lang
                found[part] = _questions(self, asked.take(keep), [texts_N[i] for i in keep], pool[lang])
        if not found:
            raise ValueError(f"suite {self.name}: no row has a text ({self.text}, {', '.join(self.langs)}) among {len(asked)} rows")
        return found


def texts_of(table: pa.Table, column: str, langs: Sequence[str]) -> dict[str, list[list[str]]]:
    """The texts of each row, by language: the value of a column, or (``captions``) the first, or (``captions*``) every caption."""
    if column not in ("captions", "captions*"):
        own = [[t] if (t := normal(v)) else [] for v in table[column].to_pylist()]
        return dict.fromkeys(langs, own)
    found: dict[str, list[list[str]]] = {lang: [] for lang in langs}
    for captions, spoken in zip(table["captions"].to_pylist(), table["lang"].to_pylist(), strict=True):
        by_lang: dict[str, dict[str, None]] = {lang: {} for lang in langs}
        for caption, lang in zip(captions or (), spoken or (), strict=True):
            if lang in by_lang and (text := normal(caption)):
                by_lang[lang][text] = None
        for lang, texts in by_lang.items():
            found[lang].append(list(texts) if column == "captions*" else list(texts)[:1])
    return found


def normal(text: str | None) -> str:
    """White space collapsed: texts that differ in nothing else are one answer."""
    return " ".join((text or "").split())


def _questions(suite: Suite, asked: pa.Table, texts_N: list[list[str]], pool: list[list[str]]) -> Questions:
    """Texts that are equal but for letter case are one candidate, written as it comes first."""
    seen: dict[str, str] = {}
    for text in (t for texts in (*texts_N, *pool) for t in texts):
        seen.setdefault(text.casefold(), text)
    index = {key: j for j, key in enumerate(sorted(seen))}
    pairs = sorted({(i, index[t.casefold()]) for i, texts in enumerate(texts_N) for t in texts})
    ids = [str(v) for v in asked["id"].to_pylist()]
    groups = [str(v) if v else i for v, i in zip(asked[suite.cluster].to_pylist(), ids, strict=True)]
    learn_N = np.array([s == "train" for s in asked["split"].to_pylist()]) if suite.learn == "split" else None
    return Questions(asked["image"].to_pylist(), ids, groups, [seen[k] for k in index], np.array(pairs, dtype=np.int64), learn_N)


def _drop_small(table: pa.Table, column: str, least: int) -> pa.Table:
    """Leave out classes with fewer than `least` groups."""
    if least <= 1:
        return table
    texts_N = texts_of(table, column, ("en",))["en"]
    groups: dict[str, set[str]] = {}
    for texts, group in zip(texts_N, table["group"].to_pylist(), strict=True):
        for t in texts:
            groups.setdefault(t.casefold(), set()).add(str(group))
    return table.take([i for i, texts in enumerate(texts_N) if texts and len(groups[texts[0].casefold()]) >= least])
