"""A sentence encoder of a local folder as a function: the teacher of a small text tower, in training only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pairwright.core.numerics import unit


def sentence_encoder(folder: str | Path, *, device: str = "cpu", max_length: int = 64) -> Callable[[list[str]], Tensor]:
    """Load a BERT-like encoder (transformers layout) -> function from n texts to unit rows (n, D), mean pooled over real tokens."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} has no config.json: name the folder of a sentence encoder in transformers' layout")
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise ValueError("reading a sentence encoder needs transformers: pip install 'pairwright[hf]'") from None
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval().to(device)

    @torch.inference_mode()
    def encode(texts: list[str]) -> Tensor:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(device)
        tokens = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        return unit((tokens * mask).sum(1) / mask.sum(1)).float().cpu()

    return encode
