"""A bank of class prompts is embedded once per model and list of prompts."""

from __future__ import annotations

from pathlib import Path

import torch

from pairwright.core.encoded import Encoded
from pairwright.heads.zero_shot.class_text import class_text


class Counting:
    """Letters as embeddings; counts the texts that it is asked for."""

    scale = 10.0

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint, self.asked = fingerprint, 0

    def tokenizer(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[t.count(c) + 1 for c in "abcdefgh"] for t in texts])

    def text(self, ids: torch.Tensor) -> Encoded:
        self.asked += len(ids)
        return Encoded.of(ids.float())


def test_the_second_time_nothing_is_embedded(tmp_path: Path) -> None:
    names, templates = ["bead", "cab"], ["a {}.", "the {}", "{} here"]
    model = Counting("one")
    plain = class_text(Counting("one"), names, templates)
    first, second = (class_text(model, names, templates, cache=tmp_path) for _ in range(2))
    assert model.asked == 6
    for text in (first, second):
        torch.testing.assert_close(text.W_CD, plain.W_CD, rtol=0, atol=0)
        torch.testing.assert_close(text.prompts_CPD, plain.prompts_CPD, rtol=0, atol=0)
    class_text(model, names, templates[:1], cache=tmp_path)
    assert model.asked == 8
    other = Counting("two")
    class_text(other, names, templates, cache=tmp_path)
    assert other.asked == 6
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    model = Counting("one")
    expected = class_text(model, ["cab"], cache=tmp_path).W_CD
    file = next(tmp_path.iterdir())
    file.write_bytes(b"no tensors")
    torch.testing.assert_close(class_text(model, ["cab"], cache=tmp_path).W_CD, expected)
    torch.testing.assert_close(class_text(Counting("one"), ["cab"], cache=tmp_path).W_CD, expected)
