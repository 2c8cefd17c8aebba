"""Tokenizers: a small byte-level BPE of our own, and the adapters for those that checkpoints bring along."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.numerics import seed_of

PLAIN = "plain_tokenizer.json"
START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<pad>"


class BPETokenizer:
    """Texts -> int64 (n, context_length), from a ``tokenizer.json``; needs neither transformers nor a network.

    Lower-cases, puts the start and end tokens around, pads with 0, and cuts what is too long in front of the end token (with one
    warning). Special tokens written inside a text are read as ordinary characters.
    """

    def __init__(self, path: str | Path, context_length: int = 77, *, start: str = START, end: str = END) -> None:
        from tokenizers import Tokenizer

        path = Path(path)
        if path.is_dir():
            path = path / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: give a tokenizer.json or a folder that holds one")
        try:
            self._bpe = Tokenizer.from_file(str(path))
        except Exception as e:  # the library raises a bare Exception
            raise ValueError(f"{path} is not a tokenizer.json: {e}") from None
        self._bpe.no_padding()
        self._bpe.no_truncation()
        self._bpe.encode_special_tokens = True
        self.context_length = context_length
        ids = [self._bpe.token_to_id(t) for t in (start, end)]
        if None in ids:
            raise ValueError(f"{path} has no {start} and {end} tokens: name the ones that it uses with start= and end=")
        self.start_id, self.end_id = ids
        self.vocab_size = self._bpe.get_vocab_size()
        self.start, self.end = start, end
        beside = path.with_name("tokenizer_config.json")
        self._config = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else None
        self._warned = False

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        texts = [texts] if isinstance(texts, str) else list(texts)
        length = context_length or self.context_length
        room = length - 2
        out = torch.zeros(len(texts), length, dtype=torch.long)
        rows = self._bpe.encode_batch([t.lower() for t in texts], add_special_tokens=False)
        long = [i for i, row in enumerate(rows) if len(row.ids) > room]
        if long and not self._warned:
            self._warned = True
            warnings.warn(
                f"{len(long)} of {len(texts)} texts are longer than {room} tokens and were cut: {texts[long[0]][:60]!r}…", stacklevel=2
            )
        for i, row in enumerate(rows):
            ids = [self.start_id, *row.ids[:room], self.end_id]
            out[i, : len(ids)] = torch.tensor(ids)
        return out

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Token ids of one text -> text, without start, end and padding."""
        return self._bpe.decode([int(i) for i in ids if int(i) not in (0, self.start_id, self.end_id)]).strip()

    def save(self, folder: str | Path) -> None:
        """Write ``tokenizer.json`` and the config with which transformers (and open_clip through it) read the same tokenizer."""
        folder = Path(folder)
        io.write_text(folder / "tokenizer.json", json.dumps(json.loads(self._bpe.to_str()), ensure_ascii=False))
        config = self._config or {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self.start,
            "eos_token": self.end,
            "pad_token": self._bpe.id_to_token(0),
            "model_max_length": self.context_length,
            "clean_up_tokenization_spaces": False,
        }
        io.write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2))


def train_bpe(texts: Iterable[str], vocab_size: int, path: str | Path, *, min_frequency: int = 2) -> Path:
    """Train a lower-casing byte-level BPE of at most `vocab_size` tokens on `texts` and write its ``tokenizer.json`` to `path`.

    Every text of every language can be written with it (bytes are the alphabet). Padding has the id 0; the start and end tokens have
    the two largest ids, so that a text tower may pool at ``argmax``.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if vocab_size < 256 + 3:
        raise ValueError(f"vocab_size must be at least 259 (256 bytes and 3 special tokens), got {vocab_size}")
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        min_frequency=min_frequency,
        special_tokens=[PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens([START, END])
    ids = [(t, bpe.token_to_id(t)) for t in (START, END)]
    bpe.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ids)
    path = Path(path)
    path = path / "tokenizer.json" if path.suffix != ".json" else path
    io.write_text(path, bpe.to_str())
    return path


class PlainTokenizer:
    """A tokenizer without a vocabulary, for small models and tests: each word a hashed bucket, or each byte a token.

    kind: ``word`` (lower-cased words and signs, hashed into `vocab_size` - 3 buckets) or ``byte`` (UTF-8; 259 tokens). 0 is padding, the
    two largest ids are start and end; what is too long is cut in front of the end token.
    """

    def __init__(self, kind: str = "word", vocab_size: int = 2048, context_length: int = 32) -> None:
        if kind not in ("word", "byte"):
            raise ValueError(f"unknown kind of tokenizer {kind!r}: choose word or byte")
        self.kind = kind
        self.vocab_size = 259 if kind == "byte" else vocab_size
        self.context_length = context_length
        self.start_id, self.end_id = self.vocab_size - 2, self.vocab_size - 1

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        texts = [texts] if isinstance(texts, str) else list(texts)
        length = context_length or self.context_length
        out = torch.zeros(len(texts), length, dtype=torch.long)
        for i, text in enumerate(texts):
            ids = [self.start_id, *self.ids(text)[: length - 2], self.end_id]
            out[i, : len(ids)] = torch.tensor(ids)
        return out

    def ids(self, text: str) -> list[int]:
        """Ids of one text without start and end."""
        if self.kind == "byte":
            return [1 + b for b in text.lower().encode()]
        return [1 + seed_of("word", w) % (self.vocab_size - 3) for w in re.findall(r"\w+|[^\w\s]", text.lower())]

    def save(self, folder: str | Path) -> None:
        """Write ``plain_tokenizer.json``, which `load` reads."""
        config = {"kind": self.kind, "vocab_size": self.vocab_size, "context_length": self.context_length}
        io.write_text(Path(folder) / PLAIN, json.dumps(config))


class Unavailable:
    """Stands for a tokenizer that is not on this machine: says so when it is called, so that images can still be embedded."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        raise FileNotFoundError(
            f"{self.why}. Install transformers and load the model once where there is a network, or use a folder that brings its tokenizer "
            "(local-dir:PATH)."
        )
