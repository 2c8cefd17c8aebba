"""A Result survives its files, refuses others, and exports what CLIP_benchmark reads."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from pairwright.evaluate.result import ITEMS, Number, Result

NUMBERS = {"acc1": Number(0.5, 0.4, 0.6, 100, 50, 0.01), "acc1[tip_adapter,k=4]": Number(0.25)}


def make() -> Result:
    items = pa.Table.from_pylist([{"metric": "acc1", "id": "a", "group": "g", "seed": 0, "value": 1.0}], schema=ITEMS)
    answers = pa.table({"id": ["a"]})
    return Result("s", "m", "f00", "acc1", NUMBERS, (0, 1), "abc", {"k": 1}, data={"hash": "h"}, items=items, answers=answers)


def test_round_trip_through_the_folder(tmp_path):
    result = make()
    path = result.save(tmp_path / "out")
    back = Result.load(tmp_path / "out")
    assert back == result
    assert back.items.equals(result.items)
    assert back.answers.equals(result.answers)
    assert Result.load(path) == result
    assert (back.value, str(back.metrics["acc1"])) == (0.5, "0.500 [0.400, 0.600]")
    raw = json.loads(path.read_text())
    assert raw["metrics"]["acc1"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "groups": 50, "chance": 0.01}


def test_files_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="not a pairwright result"):
        Result.from_json({"metrics": {}})
    with pytest.raises(ValueError, match="evaluate again"):
        Result.from_json({**make().to_json(), "metrics": {"acc1": {"valeu": 1}}})


def test_clip_benchmark_record_has_its_keys_and_plain_values():
    assert make().to_clip_benchmark() == {
        "dataset": "s", "model": "m", "pretrained": "f00", "task": "zeroshot_classification", "metrics": {"acc1": 0.5}, "language": "en",
    }  # fmt: skip


def test_comparing_without_items_says_what_to_load(tmp_path):
    bare = Result.from_json(make().to_json())
    with pytest.raises(ValueError, match=r"items\.parquet"):
        bare.against(bare)
    with pytest.raises(ValueError, match="no items for 'acc5'"):
        make().against(make(), "acc5")
