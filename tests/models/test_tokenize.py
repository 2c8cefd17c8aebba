"""The trained BPE against the tokenizers library and transformers, and the plain tokenizers."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from pathlib import Path

import pytest
import torch

from pairwright.models.tokenize import END, START, BPETokenizer, PlainTokenizer, Unavailable, train_bpe

TEXTS = ["a red apple", "two Green apples, in a basket!", "eine rote Ente", "日本の旗 🇯🇵", "  spaces\t and\nlines  ", "ÄÖÜ straße", ""]


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> BPETokenizer:
    folder = tmp_path_factory.mktemp("bpe")
    train_bpe(TEXTS * 3 + ["apple apples red green basket"] * 20, 400, folder)
    return BPETokenizer(folder, 24)


def test_layout_of_ids(bpe: BPETokenizer) -> None:
    ids = bpe(TEXTS)
    assert ids.dtype == torch.int64
    assert ids.shape == (7, 24)
    assert {bpe.start_id, bpe.end_id} == {bpe.vocab_size - 2, bpe.vocab_size - 1}
    assert bpe.end_id == bpe.vocab_size - 1
    assert (ids[:, 0] == bpe.start_id).all()
    assert (ids.argmax(1) == (ids != 0).sum(1) - 1).all()  # the end token is the last that is not padding
    assert ids[6].tolist() == [bpe.start_id, bpe.end_id] + [0] * 22


def test_every_text_comes_back_in_lower_case(bpe: BPETokenizer) -> None:
    for text in TEXTS:
        assert bpe.decode(bpe([text], context_length=200)[0]) == " ".join(text.lower().split())


def test_frequent_words_are_one_token_and_case_does_not_matter(bpe: BPETokenizer) -> None:
    assert (bpe(["apple"])[0] != 0).sum() == 3
    assert torch.equal(bpe(["A RED Apple"]), bpe(["a red apple"]))


def test_transformers_reads_the_same_tokenizer(bpe: BPETokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    bpe.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = theirs(TEXTS, padding="max_length", max_length=24, truncation=True, return_tensors="pt").input_ids
    assert torch.equal(ids, bpe(TEXTS))
    assert torch.equal(BPETokenizer(tmp_path, 24)(TEXTS), bpe(TEXTS))


def test_long_texts_keep_the_end_token_and_warn_once(bpe: BPETokenizer) -> None:
    fresh = BPETokenizer(bpe_path(bpe), 8)
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 6 tokens"):
        ids = fresh(["apple " * 5000, "apple"])
    assert ids[0, 7] == fresh.end_id
    assert (ids[0] != 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh(["apple " * 50])


def bpe_path(bpe: BPETokenizer) -> Path:
    folder = Path(tempfile.mkdtemp())
    bpe.save(folder)
    return folder


def test_special_tokens_in_a_text_are_ordinary_characters(bpe: BPETokenizer) -> None:
    ids = bpe([f"{END} {START}"], context_length=40)[0].tolist()
    assert ids.count(bpe.end_id) == 1
    assert ids.count(bpe.start_id) == 1


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        BPETokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        BPETokenizer(tmp_path)
    with pytest.raises(ValueError, match="at least 259"):
        train_bpe(TEXTS, 100, tmp_path)
    with pytest.raises(FileNotFoundError, match="local-dir:PATH"):
        Unavailable("the tokenizer X could not be had")(["a"])


@pytest.mark.parametrize("kind", ["word", "byte"])
def test_plain_tokenizers_need_nothing_and_are_stable(kind: str) -> None:
    tok = PlainTokenizer(kind, 500, 16)
    ids = tok(["a Red apple", "red", "", "x " * 50])
    assert ids.shape == (4, 16)
    assert ids.max() == tok.end_id == tok.vocab_size - 1
    assert (ids.argmax(1) == (ids != 0).sum(1) - 1).all()
    if kind == "byte":
        assert ids[1, :5].tolist() == [tok.start_id, *(1 + b for b in b"red"), tok.end_id]
    else:
        assert ids[0, 2] == ids[1, 1]  # "Red" and "red" are one word
        digest = hashlib.blake2b(b"word\x1fred", digest_size=8).digest()  # the same on every machine and in every process
        assert ids[1, 1] == 1 + (int.from_bytes(digest, "little") >> 1) % 497
    with pytest.raises(ValueError, match="word or byte"):
        PlainTokenizer("letters")
