from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pairwright.data.cache import DecodedCache
from pairwright.data.images import pixels


def test_cache_holds_what_decoding_gives(make_pairs, tmp_path):
    table = make_pairs(40)
    cache = DecodedCache.build(table, 12, tmp_path, channels=4)
    expected = np.stack([pixels(b, 12, channels=4) for b in table["image"].to_pylist()])
    assert np.array_equal(cache.pixels_NSSC, expected)
    rows = torch.tensor([3, 3, 39, 0])
    assert torch.equal(cache[rows], torch.from_numpy(expected[[3, 3, 39, 0]]).permute(0, 3, 1, 2))
    assert torch.equal(cache[2:5], cache[[2, 3, 4]])
    assert cache.good_N.all()
    assert len(cache) == 40


def test_workers_give_the_same(make_pairs, tmp_path):
    table = make_pairs(300)
    one, two = (DecodedCache.build(table, 6, tmp_path / str(w), channels=3, workers=w) for w in (0, 2))
    assert np.array_equal(one.pixels_NSSC, two.pixels_NSSC)


def test_broken_rows_are_listed(make_pairs, tmp_path):
    table = make_pairs(10)
    images = table["image"].to_pylist()
    images[3], images[7] = None, b"not an image"
    table = table.set_column(1, "image", pa.array(images, pa.large_binary()))
    cache = DecodedCache.build(table, 8, tmp_path)
    assert list(cache.skipped) == ["row3", "row7"]
    assert np.flatnonzero(~cache.good_N).tolist() == [3, 7]
    assert not cache.pixels_NSSC[[3, 7]].any()
    with pytest.raises(ValueError, match="2 images are broken"):
        DecodedCache.build(table, 8, tmp_path, strict=True)
    with pytest.raises(ValueError, match="row 3"):
        DecodedCache.build(table, 8, tmp_path / "other", strict=True)


def test_a_finished_cache_is_found_again_and_changes_make_a_new_one(make_pairs, tmp_path, encode):
    (tmp_path / "x.png").write_bytes(encode(np.zeros((4, 4, 3), np.uint8)))
    table = pa.table({"id": ["x"], "path": ["x.png"]})
    build = lambda **k: DecodedCache.build(table, 4, tmp_path / "caches", root=tmp_path, **k)
    first = build()
    stamp = (first.folder / "pixels.u8").stat().st_mtime_ns
    assert build().folder == first.folder
    assert (first.folder / "pixels.u8").stat().st_mtime_ns == stamp
    assert build(fit="cover").folder != first.folder
    assert build(channels=3).folder != first.folder
    (tmp_path / "x.png").write_bytes(encode(np.full((4, 4, 3), 255, np.uint8)))
    os.utime(tmp_path / "x.png", ns=(1, 1))
    assert build().pixels_NSSC[0, 0, 0, 0] == 255


BUILDER = """
import sys, time
import pyarrow.parquet as pq
from pairwright.data.cache import DecodedCache
DecodedCache.build(pq.read_table(sys.argv[1]), 6, sys.argv[2], workers=1, progress=lambda d, n: (print(d, flush=True), time.sleep(0.3)))
"""


def test_killed_builder_goes_on_where_it_was(make_pairs, tmp_path):
    table = make_pairs(900)
    pq.write_table(table, tmp_path / "t.parquet")
    process = subprocess.Popen([sys.executable, "-c", BUILDER, tmp_path / "t.parquet", tmp_path / "c"], stdout=subprocess.PIPE)
    assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (journal,) = (tmp_path / "c").glob("*/done.jsonl")
    before = {json.loads(line)["start"] for line in journal.read_text().splitlines()}
    assert 1 <= len(before) < 4
    with journal.open("a") as f:
        f.write('{"start": 12')  # a line that a kill has cut off
    seen = []
    cache = DecodedCache.build(pq.read_table(tmp_path / "t.parquet"), 6, tmp_path / "c", progress=lambda done, n: seen.append(done))
    assert len(seen) == 4 - len(before)
    fresh = DecodedCache.build(table, 6, tmp_path / "fresh")
    assert np.array_equal(cache.pixels_NSSC, fresh.pixels_NSSC)
    assert not journal.exists()


def test_reading_is_many_times_faster_than_decoding(tmp_path, encode):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 4), np.uint8)
    table = pa.table({"id": [str(i) for i in range(64)], "image": pa.array([encode(x) for x in noise], pa.large_binary())})
    cache = DecodedCache.build(table, 64, tmp_path)
    data = table["image"].to_pylist()
    seconds = {}
    for name, read in {"decode": lambda: [pixels(b, 64, channels=4) for b in data], "cache": lambda: cache[np.arange(64)]}.items():
        read()
        start = time.process_time()
        for _ in range(5):
            read()
        seconds[name] = time.process_time() - start
    assert seconds["decode"] > 5 * seconds["cache"]
