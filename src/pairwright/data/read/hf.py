"""Hugging Face datasets: objects of the `datasets` library, and folders made by `save_to_disk`, which are read without it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pairwright.core import io
from pairwright.data.conform import conform


def is_dataset(source: Any) -> bool:
    """Is this an object of the `datasets` library (which is not imported for the question)?"""
    return type(source).__module__.split(".")[0] == "datasets"


def read(source: Any, *, split: str | None = None, **names: Any) -> pa.Table:
    """A `Dataset`, a `DatasetDict` (with `split`), or a folder made by `save_to_disk`. Images stay encoded; class numbers become names."""
    raw, features = _from_disk(Path(source), split) if isinstance(source, (str, Path)) else _from_object(source, split)
    raw = _with_class_names(raw, features)
    image = names.pop("image", None) or next((n for n, f in features.items() if isinstance(f, Mapping) and f.get("_type") == "Image"), None)
    return conform(raw, image=image, source="the dataset", **names)


def _from_object(source: Any, split: str | None) -> tuple[pa.Table, dict[str, Any]]:
    if isinstance(source, Mapping):  # DatasetDict
        source = source[_choose(list(source), split)]
    if not hasattr(source, "with_format") or not hasattr(source, "__len__"):
        raise ValueError(
            "a streaming dataset has no end to read to: take a part of it and make it a Dataset (Dataset.from_list(list(ds.take(n))))"
        )
    raw = source.with_format("arrow")[:]
    return pa.table({name: raw.column(name) for name in raw.column_names}), source.features.to_dict()


def _from_disk(folder: Path, split: str | None) -> tuple[pa.Table, dict[str, Any]]:
    if (folder / "dataset_dict.json").exists():
        folder = folder / _choose(io.read_json(folder / "dataset_dict.json")["splits"], split)
    state = io.read_json(folder / "state.json")
    names = [Path(entry["filename"]).name for entry in state["_data_files"]]
    try:
        parts = [pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all() for name in names]
    except (pa.ArrowException, OSError) as e:
        raise ValueError(f"{folder} is not a readable saved dataset: {str(e)[:200]}") from None
    info = io.read_json(folder / "dataset_info.json")
    if state.get("_indices_files"):
        raise ValueError(f"{folder} was saved with a selection of rows by an old version of datasets: load it there and save it again")
    return pa.concat_tables(parts), info.get("features") or {}


def _choose(splits: list[str], wanted: str | None) -> str:
    if wanted is None and len(splits) == 1:
        return splits[0]
    if wanted not in splits:
        raise ValueError(f"choose a split with split=…: {', '.join(splits)}")
    return wanted


def _with_class_names(raw: pa.Table, features: Mapping[str, Any]) -> pa.Table:
    for name, feature in features.items():
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            classes = feature["names"]
            values = [None if v is None or v < 0 else classes[v] for v in raw.column(name).to_pylist()]
            raw = raw.set_column(raw.column_names.index(name), name, pa.array(values, pa.string()))
    return raw.replace_schema_metadata(None)
