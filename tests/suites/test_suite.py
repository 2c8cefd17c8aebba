"""From rows to questions: several captions, shared names, case, languages, missing texts, small classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pairwright.suites.suite import Suite
from pairwright.suites.table import SUITES, describe, few_shot, get


def rows(*parts: tuple[str, list[str], str]) -> pa.Table:
    """(id, captions like ``en:a cat``, label)"""
    made = []
    for name, captions, label in parts:
        langs, texts = zip(*(c.split(":", 1) for c in captions)) if captions else ((), ())
        made.append({"id": name, "image": name.encode(), "captions": list(texts), "lang": list(langs), "name": name[0],
                     "group": name[0], "category": "c", "label": label, "split": "test"})  # fmt: skip
    return pa.Table.from_pylist(made)


TABLE = rows(
    ("a1", ["en:A cat", "en:a  cat", "en:pet", "de:Katze"], "x"),
    ("a2", ["en:a cat"], "x"),
    ("b1", ["en:dog", "de:Hund"], "y"),
    ("c1", [], "x"),
)
BASE = Suite("t", "", "retrieve", ("p",))


def test_every_caption_and_shared_captions_match_both_ways():
    q = replace(BASE, text="captions*").ask(TABLE)[""]
    assert q.text_T == ["A cat", "dog", "pet"]
    assert q.true_P2.tolist() == [[0, 0], [0, 2], [1, 0], [2, 1]]
    assert (q.id_N, q.group_N) == (["a1", "a2", "b1"], ["a", "a", "b"])
    with pytest.raises(ValueError, match="several right answers"):
        _ = q.label_N


def test_the_first_caption_of_each_language_is_one_answer():
    parts = replace(BASE, text="captions", langs=("en", "de", "fr")).ask(TABLE)
    assert list(parts) == ["en", "de"]
    assert parts["en"].label_N.tolist() == [0, 0, 1]
    assert parts["de"].text_T == ["Hund", "Katze"]
    assert parts["de"].id_N == ["a1", "b1"]


def test_candidates_of_all_rows_are_distractors_without_pictures():
    asked = TABLE.slice(2, 1)
    q = replace(BASE, text="name", among="all").ask(asked, TABLE)[""]
    assert q.text_T == ["a", "b", "c"]
    assert q.label_N.tolist() == [1]
    assert replace(BASE, text="name").ask(asked, TABLE)[""].text_T == ["b"]


def test_small_classes_are_left_out_by_groups_not_rows():
    q = replace(BASE, text="label", min_class=2).ask(TABLE)[""]
    assert (q.text_T, q.id_N) == (["x"], ["a1", "a2", "c1"])  # x has the groups a and c, y only b


def test_clusters_by_id_and_learning_rows_by_split():
    table = TABLE.set_column(TABLE.column_names.index("split"), "split", pa.array(["train", "test", "train", "test"]))
    q = replace(BASE, text="label", cluster="id", learn="split").ask(table)[""]
    assert q.group_N == q.id_N
    assert np.array_equal(q.learn_N, [True, False, True, False])


def test_no_text_at_all_is_refused():
    with pytest.raises(ValueError, match="no row has a text"):
        replace(BASE, text="captions").ask(TABLE.slice(3, 1))


def test_the_table_is_sound():
    names = [s.name for s in SUITES]
    assert len(set(names)) == len(names)
    for s in SUITES:
        assert s.about
        assert s.headline
        assert get(s.name) is s
        assert (s.task == "few_shot") == bool(s.learn and s.shots)
        assert s.name in describe()
    with pytest.raises(ValueError, match="unseen-vendor"):
        get("nothing")


def test_few_shot_suites_are_found_by_name_or_pack_and_misspellings_are_answered():
    assert few_shot("emoji-few-shot") is few_shot("emoji-apple") is get("emoji-few-shot")
    assert few_shot("world-dusk").name == "shapes-few-shot-dusk"
    for s in (s for s in SUITES if s.task == "few_shot"):
        assert few_shot(s.name) is s
    with pytest.raises(ValueError, match="did you mean emoji-apple"):
        few_shot("emoji-aple")
    with pytest.raises(ValueError, match="asks without examples"):
        few_shot("emoji-group")
    with pytest.raises(ValueError, match="did you mean unseen-vendor"):
        get("unseen-vendors")
