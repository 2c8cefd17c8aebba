"""The protocol: open the rows a suite asks, ask the model, count. This is the only code in the project that opens a test split.

Nothing is chosen here: no threshold, template, checkpoint or hyper-parameter depends on the rows that are asked.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pairwright.core import io
from pairwright.core.provenance import commit, versions
from pairwright.data import packs
from pairwright.data.images import open_image
from pairwright.data.packs import splits
from pairwright.evaluate.asker import Asker, Progress
from pairwright.evaluate.problem import Problem
from pairwright.evaluate.result import Result
from pairwright.evaluate.settings import SESSIONS, make
from pairwright.evaluate.tally import Tally
from pairwright.evaluate.tasks import TASKS, Heads, Plan, default_heads, part_of
from pairwright.evaluate.world_rows import is_world, world_rows


def evaluate(
    model: Any,
    suite: Any,
    *,
    name: str = "",
    seeds: Sequence[int] = (0, 1, 2),
    shots: Sequence[int] | None = None,
    heads: Heads | None = None,
    batch_size: int = 128,
    cache: bool = True,
    draws: int = 1000,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measure a model on a suite (a row of pairwright.suites): metrics with 95% intervals, chance levels, and every item's value.

    name: what to call the model in the result. seeds, shots, heads: of few-shot suites (their own shots and the standard heads where not
    given). cache: keep features on disk, so that a second evaluation embeds nothing. draws: bootstrap resamples. out: a folder for
    ``result.json``, ``items.parquet`` and ``answers.parquet``.
    """
    start = time.perf_counter()
    asked, everything, data = open_rows(suite)
    opened = time.perf_counter()
    questions = suite.ask(asked, everything)
    asker, tally = Asker(model, batch_size=batch_size, cache=cache, progress=progress), Tally(draws)
    few = suite.task == "few_shot"
    plan = Plan(tuple(seeds) if few else (), tuple(shots or suite.shots), (heads or default_heads()) if few else {})
    for part, q in questions.items():
        TASKS[suite.task](asker, q, suite, plan, tally, f"[{part}]" if part else "")
    end = time.perf_counter()
    result = Result(
        suite=suite.name,
        model=name or str(model.config.get("name", "unnamed")),
        fingerprint=asker.fingerprint,
        headline=suite.headline,
        metrics=tally.metrics,
        seeds=tuple(plan.seeds),
        commit=commit(),
        config={"shots": list(plan.shots), "heads": sorted(plan.heads), "draws": draws, "suite": suite.to_json()},
        device=str(model.device),
        threads=torch.get_num_threads(),
        seconds={"open": opened - start, "embed": asker.seconds, "score": end - opened - asker.seconds, "total": end - start},
        data={**data, "hash": _hash(questions), "embedded": asker.store.embedded, "from_cache": asker.store.reused},
        versions=versions(),
        items=tally.items,
        answers=tally.answers,
    )
    if result.headline not in result.metrics:
        raise ValueError(f"suite {suite.name} leads with {suite.headline!r}, but it measured {', '.join(result.metrics)}: pass other shots")
    if out is not None:
        result.save(out)
    return result


def open_problem(
    model: Any,
    suite: Any,
    *,
    setting: str = "shots",
    to: Sequence[Any] = (),
    sessions: int = SESSIONS,
    batch_size: int = 128,
    cache: bool = True,
    progress: Progress | None = None,
) -> Problem:
    """A few-shot suite in a setting, ready for `contest.contest`: each suite is opened once, its questions embedded, their labels sealed.

    setting: a name of `settings.SETTINGS`. to: the suites that cross and shift ask. The pictures to learn from are embedded when drawn.
    """
    asker = Asker(model, batch_size=batch_size, cache=cache, progress=progress)
    parts, data, pictures = [], {}, {}
    for s in (suite, *to):
        if s.task != "few_shot":
            raise ValueError(f"suite {s.name} has no rows to learn from (its task is {s.task}): methods are compared on few-shot suites")
        asked, everything, about = open_rows(s)
        questions = s.ask(asked, everything)
        parts.append(part_of(asker, questions[""], s))
        pictures |= dict(zip(questions[""].id_N, questions[""].image_N, strict=True))
        data[s.name] = {**about, "hash": _hash(questions)}
    see = lambda ids: torch.stack([model.preprocess(open_image(pictures[i], alpha=True)) for i in ids])
    return make(setting, parts[0], parts[1:], model=model, sessions=sessions, pictures=see, facts={"suites": data})


def open_rows(suite: Any) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """The rows a suite asks, all rows of its data, and where they came from (version, hash and licence of each pack).

    Columns ``split`` and ``concept`` (train, val or test: how training treats the row's concept) are added to those of the data.
    """
    tables, about = zip(*(world_rows(name) if is_world(name) else _pack(name) for name in suite.data), strict=True)
    everything = pa.concat_tables(tables, promote_options="permissive")
    keep = np.isin(_column(everything, "split"), suite.splits)
    if suite.concepts:
        keep &= _column(everything, "concept") == suite.concepts
    if not keep.any():
        raise ValueError(f"suite {suite.name}: none of {len(everything)} rows of {', '.join(suite.data)} is in {' or '.join(suite.splits)}")
    return everything.filter(pa.array(keep)), everything, {"packs": dict(zip(suite.data, about, strict=True)), "rows": int(keep.sum())}


def _pack(name: str) -> tuple[pa.Table, dict[str, Any]]:
    """A pack with its splits, and what its manifest says about it."""
    path = packs.get(name)
    table = pq.read_table(path, columns=["id", "image", "captions", "lang", "name", "group", "category", "label", "source", "phash"])
    manifest = io.read_json(path.with_name("manifest.json"))
    about = {k: manifest[k] for k in ("version", "table_sha256", "licence", "attribution", "show", "rows")}
    table = splits.assign(table)
    return table.append_column("concept", pa.array(_concepts(table), pa.string())), about


def _concepts(table: pa.Table) -> list[str]:
    """How training treats each row's concept: a held-out vendor draws concepts that training knows, and held-out ones."""
    rule = splits.committed()
    held = {group: name for name, groups in (("val", rule.val), ("test", rule.test)) for group in groups.get("emoji", ())}
    rows = zip(_column(table, "source"), _column(table, "group"), _column(table, "split"), strict=True)
    return [held.get(group, "train") if source in splits.EMOJI else split for source, group, split in rows]


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy(zero_copy_only=False)


def _hash(questions: dict[str, Any]) -> str:
    """The identity of what was asked: ids, texts and truth (pictures by their bytes)."""
    digest = lambda pictures: [hashlib.sha256(p).hexdigest() for p in pictures]
    asked = {part: [q.id_N, digest(q.image_N), q.text_T, q.true_P2.tolist()] for part, q in questions.items()}
    return io.hash_json(asked)[:16]
