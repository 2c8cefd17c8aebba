from __future__ import annotations

import json
import os
import signal

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairwright.data.cache import DecodedCache
from pairwright.data.columns import duplicate_keys, group_ids, int_ids
from pairwright.data.images import Limits
from pairwright.data.loader import BrokenRow, Loader, share
from pairwright.data.pool import DecodePool, WorkerDied
from pairwright.data.sampler.grouped import Grouped
from pairwright.data.sampler.no_duplicates import NoDuplicates
from pairwright.data.sampler.plain import Plain
from pairwright.data.sampler.weighted import Weighted

WORLDS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16)
N = 600


@pytest.fixture(scope="module")
def cached(make_pairs, tmp_path_factory):
    table = make_pairs(N)
    return table, DecodedCache.build(table, 2, tmp_path_factory.mktemp("cache"), channels=3)


def sampler(kind: str, n: int, batch: int, seed: int = 0):
    return {
        "plain": lambda: Plain(n, batch, seed=seed),
        "no_duplicates": lambda: NoDuplicates([[i // 2] for i in range(n)], batch, seed=seed),
        "grouped": lambda: Grouped(np.arange(n) // 2, batch, 2, seed=seed),
        "weighted": lambda: Weighted(1.0 + np.arange(n) % 3, batch, seed=seed),
    }[kind]()


def global_batches(make_loader, world: int, state=None) -> list[tuple]:
    """The rest of an epoch as every rank sees it, put together: (rows, captions, first pixel) of each global batch."""
    ranks = []
    for rank in range(world):
        loader = make_loader(rank, world)
        if state is not None:
            loader.load_state_dict(json.loads(json.dumps(state)))
        ranks.append(list(loader))
    joined = []
    for parts in zip(*ranks, strict=True):
        rows = torch.cat([p["row"] for p in parts])
        joined.append(
            (rows.tolist(), [c for p in parts for c in p["captions"]], torch.cat([p["images"] for p in parts])[:, :2, 0, 0].tolist())
        )
    return joined


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(
    st.integers(1, 150),
    st.integers(1, 4),
    st.sampled_from(WORLDS),
    st.lists(st.tuples(st.integers(0, 150), st.sampled_from(WORLDS)), max_size=4),
)
def test_one_order_of_samples_for_every_world_size_and_any_resume(n, per_rank, world, stops):
    """Run to some sample on one number of ranks, go on with another, and so on: the rows in order are always the sampler's."""
    order = Plain(n, 1).batches(0)
    seen: list[int] = []
    at = 0
    for samples, ranks in [*stops, (n, world)]:
        batches = Plain(n, per_rank * ranks, drop_last=False).batches(0)
        parts = [list(share(batches, at, rank, ranks)) for rank in range(ranks)]
        for step in zip(*parts, strict=True):
            if at >= samples:
                break
            seen += np.concatenate([rows for _, rows in step]).tolist()
            (at,) = {position for position, _ in step}
            assert at == len(seen)
    assert seen == np.concatenate(order).tolist()


@pytest.mark.parametrize("kind", ["plain", "no_duplicates", "grouped", "weighted"])
@pytest.mark.parametrize(("world", "other"), [(1, 16), (2, 3), (15, 4)])
def test_the_loader_keeps_the_order_of_every_sampler(cached, kind, world, other):
    table, cache = cached
    make = lambda rank, world: Loader(table, sampler(kind, N, 240), cache=cache, rank=rank, world=world)
    reference = global_batches(make, 1)
    assert [rows for rows, _, _ in reference] == [b.tolist() for b in sampler(kind, N, 240).batches(0)]
    assert global_batches(make, world) == reference
    loader = make(0, world)
    next(iter(loader))
    assert global_batches(make, other, loader.state_dict()) == reference[1:]


@pytest.mark.parametrize("sample", [1, 59, 60, 61, N - 1])
def test_resume_at_any_sample_even_with_another_batch_size(cached, sample):
    table, cache = cached
    make = lambda rank, world: Loader(table, Plain(N, 60, seed=1, drop_last=False), cache=cache, rank=rank, world=world)
    state = {**Loader(table, Plain(N, 7, seed=1), cache=cache).state_dict(), "sample": sample}
    got = [row for rows, _, _ in global_batches(make, 2, state) for row in rows]
    assert got == np.concatenate(Plain(N, 1, seed=1).batches(0))[sample:].tolist()


@pytest.mark.parametrize(("world", "workers"), [(1, 1), (1, 2), (2, 1), (3, 1)])
def test_worker_processes_change_nothing(make_pairs, world, workers):
    table = make_pairs(36)
    make = lambda workers: lambda rank, world: Loader(table, Plain(36, 12), size=4, rank=rank, world=world, workers=workers)
    assert global_batches(make(workers), world) == global_batches(make(0), 1)


def test_cache_and_decoding_give_the_same(make_pairs, tmp_path):
    table = make_pairs(24)
    plain = list(Loader(table, Plain(24, 8), size=6))
    cache = DecodedCache.build(table, 6, tmp_path, channels=3)
    for a, b, c in zip(plain, Loader(table, Plain(24, 8), cache=cache), Loader(table, Plain(24, 8), cache=cache, workers=2), strict=True):
        assert torch.equal(a["images"], b["images"])
        assert torch.equal(a["images"], c["images"])
        assert a["captions"] == b["captions"] == c["captions"]


def test_a_batch_says_what_the_table_says(make_pairs):
    table = make_pairs(6, group=["x", "x", None, "y", None, "y"], weight=pa.array([1, 2, None, 4, 5, 6], pa.float32()))
    (batch,) = Loader(table, Plain(6, 6, shuffle=False), size=8, captions="all")
    assert batch["images"].shape == (6, 3, 8, 8)
    assert batch["images"].dtype == torch.uint8
    assert batch["images"][:, 0, 0, 0].tolist() == list(range(6))
    assert batch["ids"] == [f"row{i}" for i in range(6)]
    assert batch["captions"][2] == ["first of 2", "second of 2"]
    assert batch["weight"].tolist() == [1, 2, 1, 4, 5, 6]
    assert batch["sample"].tolist() == int_ids(batch["ids"]).tolist()
    group = batch["group"]
    assert (group[:, None] == group[None, :]).nonzero().tolist() == [
        [0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [3, 3], [3, 5], [4, 4], [5, 3], [5, 5],
    ]  # fmt: skip
    (sizes,) = Loader(table, Plain(6, 6), captions=None)
    assert isinstance(sizes["images"], list)
    assert sizes["images"][0].shape == (3, 8, 8)
    assert "captions" not in sizes


def test_captions_are_drawn_evenly_and_by_sample_not_by_place(make_pairs):
    table = make_pairs(300)
    drawn = {}
    for epoch in range(4):
        loader = Loader(table, Plain(300, 100), size=1)
        loader.epoch = epoch
        drawn[epoch] = {i: c for b in loader for i, c in zip(b["ids"], b["captions"])}
    share = np.mean([c.startswith("first") for d in drawn.values() for c in d.values()])
    assert share == pytest.approx(0.5, abs=0.06)
    assert drawn[0] != drawn[1]
    mixed = table.take(np.random.default_rng(0).permutation(300))
    assert {i: c for b in Loader(mixed, Plain(300, 50), size=1) for i, c in zip(b["ids"], b["captions"])} == drawn[0]


def test_epochs_follow_each_other(make_pairs):
    loader = Loader(make_pairs(8), Plain(8, 4), size=1)
    seen = []
    for batch in loader.forever():
        seen.append((batch["epoch"], batch["row"].tolist()))
        if len(seen) == 5:
            break
    expected = [(e, b.tolist()) for e in range(3) for b in Plain(8, 4).batches(e)]
    assert seen == expected[:5]
    assert loader.state_dict()["epoch"] == 2
    assert loader.state_dict()["sample"] == 4


def plant(make_pairs, encode, tmp_path) -> tuple[pa.Table, dict[int, str]]:
    """A table with 12 kinds of broken rows, and a word of the reason for each."""
    table = make_pairs(60)
    images, captions = table["image"].to_pylist(), table["captions"].to_pylist()
    paths: list[str | None] = [None] * 60
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    jpeg, png = encode(noise, "JPEG"), encode(noise)
    (tmp_path / "words.png").write_text("a text file named .png")
    broken = {
        2: (None, "gone.png", "does not exist"),
        3: (b"", None, "0 bytes"),
        9: (None, "words.png", "allowed format"),
        15: (jpeg[: len(jpeg) // 2], None, "truncated"),
        21: (png[: len(png) // 2], None, "truncated"),
        22: (encode(np.zeros((300, 300), np.uint8)), None, "pixels"),
        23: (encode(np.zeros((1, 1500), np.uint8)), None, "side"),
        30: (encode(noise, "TIFF"), None, "allowed format"),
        31: (None, None, "no image"),
        40: (b"GIF89a" + b"\xff" * 40, None, "."),
        58: (images[58], None, "no caption"),
        59: (images[59], None, "no caption"),
    }
    for row, (image, path, _) in broken.items():
        images[row], paths[row] = image, path
    captions[58], captions[59] = None, ["", "  ", None]
    table = pa.table({"id": table["id"], "image": pa.array(images, pa.large_binary()), "path": paths, "captions": captions})
    return table, {row: word for row, (_, _, word) in broken.items()}


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_rows_are_counted_exactly_and_replaced(make_pairs, encode, tmp_path, workers):
    table, broken = plant(make_pairs, encode, tmp_path)
    options = {"size": 4, "root": tmp_path, "limits": Limits(pixels=80_000, side=1000), "workers": workers}
    loader = Loader(table, Plain(60, 20, shuffle=False), **options)
    rows = [row for batch in loader for row in batch["row"].tolist()]
    good = lambda row: row if row not in broken else good((row + 1) % 60)
    assert rows == [good(row) for row in range(60)]
    assert set(loader.skipped) == {f"row{row}" for row in broken}
    for row, word in broken.items():
        assert word == "." or word in loader.skipped[f"row{row}"]
    # the same rows for every world size, and the ranks' lists together are the whole list
    ranks = [Loader(table, Plain(60, 20), rank=r, world=2, **{**options, "workers": 0}) for r in range(2)]
    parts = [[b["row"] for b in rank] for rank in ranks]
    joined = [torch.cat(p).tolist() for p in zip(*parts, strict=True)]
    assert joined == [[good(r) for r in b.tolist()] for b in Plain(60, 20).batches(0)]
    assert {**ranks[0].skipped, **ranks[1].skipped} == loader.skipped


def test_broken_rows_of_a_cache_are_replaced_alike(make_pairs, encode, tmp_path):
    table, broken = plant(make_pairs, encode, tmp_path)
    limits = Limits(pixels=80_000, side=1000)
    cache = DecodedCache.build(table, 4, tmp_path / "c", channels=3, root=tmp_path, limits=limits)
    direct, fast = Loader(table, Plain(60, 20), size=4, root=tmp_path, limits=limits), Loader(table, Plain(60, 20), cache=cache)
    for a, b in zip(direct, fast, strict=True):
        assert torch.equal(a["row"], b["row"])
        assert torch.equal(a["images"], b["images"])
    assert direct.skipped == fast.skipped
    assert len(direct.skipped) == len(broken)


def test_strict_stops_at_the_first(make_pairs, encode, tmp_path):
    table, _ = plant(make_pairs, encode, tmp_path)
    with pytest.raises(BrokenRow, match=r"row2: .*gone\.png"):
        list(Loader(table, Plain(60, 20, shuffle=False), size=4, root=tmp_path, strict=True))


def test_nothing_usable_is_an_error_and_not_a_loop(make_pairs):
    table = make_pairs(5).set_column(1, "image", pa.array([b"x"] * 5, pa.large_binary()))
    with pytest.raises(ValueError, match="none of the 5 rows"):
        list(Loader(table, Plain(5, 5), size=4))


def test_a_dead_worker_is_an_error_and_not_a_hang(make_pairs):
    table = make_pairs(200)
    with DecodePool(1, size=8) as pool:
        assert len(pool.submit(lambda decode: decode(table["image"].to_pylist()[:3])).result(60)) == 3
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="signal 9"):
            pool.submit(lambda decode: decode(table["image"].to_pylist())).result(60)
        # the pool has a new worker for whoever goes on
        assert len(pool.submit(lambda decode: decode(table["image"].to_pylist()[:3])).result(60)) == 3
        (pid,) = pool.pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_position_of_other_data_is_refused(make_pairs):
    table = make_pairs(20)
    state = Loader(table, Plain(20, 4), size=1).state_dict()
    Loader(table, Plain(20, 10), size=1).load_state_dict(state)  # another batch size is the same order
    for other in (
        Loader(table, Plain(20, 4, seed=1), size=1),
        Loader(table.take(list(range(19, -1, -1))), Plain(20, 4), size=1),
        Loader(table, NoDuplicates(duplicate_keys(table), 4), size=1),
    ):
        with pytest.raises(ValueError, match="another order"):
            other.load_state_dict(state)


def test_wrong_use_is_told(make_pairs, cached):
    table = make_pairs(8)
    for options, words in (
        ({"sampler": Plain(9, 4)}, "9 rows"),
        ({"cache": cached[1]}, "same table"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"world": 3}, "divisible"),
    ):
        with pytest.raises(ValueError, match=words):
            Loader(table, **{"sampler": Plain(8, 4), **options})
    with pytest.raises(ValueError, match="no captions"):
        Loader(table.drop_columns(["captions"]), Plain(8, 4))
    with pytest.raises(ValueError, match="neither"):
        Loader(table.drop_columns(["image"]), Plain(8, 4))


def test_duplicate_keys_meet_where_groups_or_captions_are_the_same(make_pairs):
    table = make_pairs(5, group=["g", None, "g", None, None])
    table = table.set_column(2, "captions", pa.array([["A Dog"], ["a  dog "], ["cat"], ["bird", "Cat"], ["fish"]]))
    keys = [set(k) for k in duplicate_keys(table)]
    meet = [[bool(a & b) for b in keys] for a in keys]
    pairs = {(i, j) for i in range(5) for j in range(i) if meet[i][j]}
    assert pairs == {(1, 0), (2, 0), (3, 2)}
    only_groups = [set(k) for k in duplicate_keys(table, captions=False)]
    assert {(i, j) for i in range(5) for j in range(i) if only_groups[i] & only_groups[j]} == {(2, 0)}
    assert group_ids(table).tolist() == [next(iter(k)) for k in only_groups]
