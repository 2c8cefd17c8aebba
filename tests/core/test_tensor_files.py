"""Tensor files: headers that begin as a pickle does are read, and pickles are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pairwright.core.io import load_tensors, save_tensors


def test_a_header_of_any_length_is_read_also_where_its_length_looks_like_a_pickle(tmp_path: Path) -> None:
    path, lengths = tmp_path / "x.safetensors", set()
    for n in range(500, 1400, 8):
        save_tensors(path, {"x": torch.ones(400)}, {"note": "y" * n})
        lengths.add(path.read_bytes()[:2])
        assert load_tensors(path)[1] == {"note": "y" * n}
    assert {b"\x80\x03", b"\x80\x04", b"\x80\x05"} <= lengths


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_is_called_a_pickle(tmp_path: Path, zipped: bool) -> None:
    torch.save({"x": torch.ones(2)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="is a pickle"):
        load_tensors(tmp_path / "x.pt")
