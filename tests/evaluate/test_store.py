"""The feature cache: each item once, in order, across reopening, per model."""

from __future__ import annotations

import pytest
import torch

from pairwright.evaluate.store import FeatureStore


class _Embedder:
    def __init__(self) -> None:
        self.calls: list[list] = []

    def __call__(self, items):
        self.calls.append(list(items))
        return torch.tensor([[float(len(x)), float(sum(x if isinstance(x, bytes) else x.encode()))] for x in items])


def test_items_are_embedded_once_and_come_back_in_order(tmp_path):
    embed = _Embedder()
    store = FeatureStore("f", tmp_path)
    first = store.get("images", [b"ab", b"c", b"ab"], embed)
    assert embed.calls == [[b"ab", b"c"]]
    assert torch.equal(first, torch.tensor([[2.0, 195.0], [1.0, 99.0], [2.0, 195.0]]))
    reopened = FeatureStore("f", tmp_path)
    again = reopened.get("images", [b"c", b"dd", b"ab"], embed)
    assert embed.calls[1:] == [[b"dd"]]
    assert torch.equal(again[[2, 0]], first[:2])
    assert (reopened.embedded, reopened.reused) == (1, 2)


def test_another_model_or_shelf_shares_nothing(tmp_path):
    embed = _Embedder()
    FeatureStore("f", tmp_path).get("texts", ["x"], embed)
    FeatureStore("g", tmp_path).get("texts", ["x"], embed)
    FeatureStore("f", tmp_path).get("images", [b"x"], embed)
    assert len(embed.calls) == 3
    FeatureStore("f", None).get("texts", ["x"], embed)
    assert len(embed.calls) == 4


def test_a_damaged_file_is_written_anew(tmp_path):
    embed = _Embedder()
    FeatureStore("f", tmp_path).get("texts", ["x"], embed)
    (tmp_path / "f" / "texts.safetensors").write_bytes(b"half a file")
    assert torch.equal(FeatureStore("f", tmp_path).get("texts", ["x"], embed), torch.tensor([[1.0, 120.0]]))
    FeatureStore("f", tmp_path).get("texts", ["x"], embed)
    assert len(embed.calls) == 2


def test_nothing_to_embed_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        FeatureStore("f", tmp_path).get("texts", [], _Embedder())
