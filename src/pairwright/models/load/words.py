"""The tokenizer that belongs to a model: from its folder if it brings one, else the one its architecture was trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pairwright.models.load.checkpoint import read_json
from pairwright.models.tokenize import PLAIN, BPETokenizer, PlainTokenizer, Unavailable

Tokenizer = Callable[..., Tensor]


def for_folder(folder: Path, model_cfg: Mapping[str, Any] | None, context: int) -> Tokenizer:
    """A folder's own tokenizer: ``tokenizer.json`` with start and end tokens without further libraries, others by transformers.

    A folder without tokenizer files uses open_clip's BPE, unless its config names another one.
    """
    text_cfg = dict((model_cfg or {}).get("text_cfg", {}))
    if (folder / PLAIN).is_file():
        return PlainTokenizer(**read_json(folder / PLAIN))
    own = folder / "tokenizer.json"
    if own.is_file() and not text_cfg.get("tokenizer_kwargs") and not text_cfg.get("tokenizer_mode"):
        try:
            return BPETokenizer(own, context)
        except ValueError:
            pass  # a tokenizer without CLIP's start and end tokens: transformers knows how to drive it
    files = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
    if any((folder / f).is_file() for f in files):
        return _hugging_face(str(folder), text_cfg, context)
    return for_architecture(model_cfg or {}, context)


def for_architecture(model_cfg: Mapping[str, Any], context: int) -> Tokenizer:
    """The tokenizer of a named open_clip architecture: its BPE, or a Hugging Face one (SigLIP's too) from the cache or the network."""
    text_cfg = dict(model_cfg.get("text_cfg", {}))
    if text_cfg.get("hf_tokenizer_name"):
        return _hugging_face(text_cfg["hf_tokenizer_name"], text_cfg, context)
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context, **(text_cfg.get("tokenizer_kwargs") or {}))


def _hugging_face(source: str, text_cfg: Mapping[str, Any], context: int) -> Tokenizer:
    from open_clip.tokenizer import HFTokenizer

    kwargs = text_cfg.get("tokenizer_kwargs") or {}
    mode = text_cfg.get("tokenizer_mode")
    return _try(lambda: HFTokenizer(source, context_length=context, tokenizer_mode=mode, **kwargs), f"the tokenizer {source!r}")


def _try(make: Callable[[], Tokenizer], what: str) -> Tokenizer:
    """The model is usable for images without its tokenizer, so a missing one complains when it is called, not before."""
    try:
        return make()
    except Exception as e:  # hub, transformers and sentencepiece each raise their own kinds
        return Unavailable(f"{what} could not be had ({type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''})")
