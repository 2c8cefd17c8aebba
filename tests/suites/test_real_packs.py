"""On the packs themselves (where they are built): no suite asks what training has seen, and every suite has what it asks for."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pairwright.data import packs
from pairwright.data.packs import splits
from pairwright.data.packs.leakage import leakage
from pairwright.evaluate.protocol import open_rows
from pairwright.evaluate.world_rows import is_world
from pairwright.suites.table import SUITES

pytestmark = pytest.mark.packs
REAL = [s for s in SUITES if not is_world(s.data[0])]
COLUMNS = ["id", "name", "group", "source", "phash"]


@pytest.fixture(scope="module")
def training() -> pa.Table:
    names = [n for n, p in packs.PACKS.items() if p.role == "train"]
    if missing := [n for n in names if not packs.is_cached(n)]:
        pytest.skip(f"packs are not built: {', '.join(missing)}")
    table = pa.concat_tables([splits.assign(packs.load(n, COLUMNS)) for n in names])
    return table.filter(pc.field("split") == "train")


@pytest.mark.parametrize("suite", REAL, ids=lambda s: s.name)
def test_training_has_not_seen_what_is_asked(suite, training):
    if missing := [n for n in suite.data if not packs.is_cached(n)]:
        pytest.skip(f"packs are not built: {', '.join(missing)}")
    asked, everything, about = open_rows(suite)
    if suite.data == ("fashion-mnist",):
        assert not set(asked["group"].to_pylist()) & set(training["source"].to_pylist())
    else:
        held = asked.filter(pc.field("split") == "test") if suite.learn == "split" else asked
        leaks = leakage(training, held.select(COLUMNS), near=0).counts()
        assert (leaks["near"] > 0) == suite.seen, "a picture of training is asked"
        if suite.concepts == "test" or (suite.learn == "split" and set(suite.data) <= set(splits.EMOJI)):
            assert leaks["group"] == leaks["name"] == 0
    assert about["rows"] == len(asked)
    parts = suite.ask(asked, everything)
    assert len(parts) == len(suite.langs)
    for q in parts.values():
        assert len(q) > 100
        assert len(set(q.text_T)) == len(q.text_T) >= 5
