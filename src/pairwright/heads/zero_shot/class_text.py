"""From class names to `ClassText`: templates and descriptions, embedded in batches."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.features import ClassText, Features
from pairwright.data.text.templates import fill
from pairwright.data.text.templates import templates as load_templates
from pairwright.heads.zero_shot.prompt_ensemble import mean_of_prompts


def class_text(
    model: Any,
    names: Sequence[str],
    templates: str | Path | Sequence[str] = "simple",
    descriptions: Mapping[str, Sequence[str]] | None = None,
    *,
    phrase: str = "{} which has {d}",
    batch: int = 256,
    cache: str | Path | None = None,
) -> ClassText:
    """Embed class names with prompt templates, or with descriptions, into the class text of zero-shot and few-shot heads.

    model: anything with `tokenizer(list of str) -> ids`, `text(ids) -> Encoded`, `scale` and `fingerprint` (a DualEncoder). names: one
    per class, unique. templates: the name of a shipped list ("simple", "openai_imagenet", "icon", …), a text file, one template, or a
    list of them; ``{}`` or ``{c}`` stands for the name. descriptions: class name -> phrases; each becomes one prompt by `phrase`, with
    ``{d}`` for the description, and templates are then not used; every class needs at least one. batch: prompts encoded at once. cache:
    a folder that keeps the embedded prompts of each model (by fingerprint) and list of prompts, so that a bank is embedded once.

    Returns ClassText: W_CD is the unit mean of a class's unit prompt embeddings, prompts_CPD the single prompts (zeros pad ragged
    classes), scale that of the model. Raises ValueError for empty or repeated names and for descriptions that do not fit the names.
    """
    names = [str(n) for n in names]
    _check_names(names)
    if descriptions is None:
        rows = load_templates(templates)
        prompts = [[fill(t, name) for t in rows] for name in names]
    else:
        prompts = _described(names, descriptions, phrase)
    flat = [p for group in prompts for p in group]
    z = _encode(model, flat, batch) if cache is None else _remembered(Path(cache), model, flat, batch)
    prompts_CPD = z.new_zeros(len(names), max(map(len, prompts)), z.shape[1])
    start = 0
    for c, group in enumerate(prompts):
        prompts_CPD[c, : len(group)] = z[start : start + len(group)]
        start += len(group)
    return ClassText(
        mean_of_prompts(prompts_CPD),
        tuple(names),
        prompts_CPD,
        encoder=model.fingerprint,
        scale=float(torch.as_tensor(model.scale).detach()),
    )


def _remembered(folder: Path, model: Any, prompts: list[str], batch: int) -> Tensor:
    file = folder / f"{io.hash_json([model.fingerprint, prompts])[:32]}.safetensors"
    if file.is_file():
        with contextlib.suppress(ValueError):  # a damaged file is written anew
            found = Features.load(file)
            if found.encoder == model.fingerprint and len(found) == len(prompts):
                return found.z_ND.clone()  # a mapped file may be replaced while it is in use
    z = _encode(model, prompts, batch)
    Features(z, encoder=model.fingerprint).save(file)
    return z


def _encode(model: Any, prompts: list[str], batch: int) -> Tensor:
    if getattr(model, "tokenizer", None) is None:
        raise ValueError("this model has no tokenizer: load it with pairwright.load, or set model.tokenizer")
    was_training = getattr(model, "training", False)
    if was_training:
        model.eval()
    device = getattr(model, "device", "cpu")
    try:
        with torch.no_grad():
            parts = [
                model.text(model.tokenizer(prompts[i : i + batch]).to(device)).z_BD.float().cpu() for i in range(0, len(prompts), batch)
            ]
    finally:
        if was_training:
            model.train()
    return torch.cat(parts)


def _check_names(names: list[str]) -> None:
    if not names:
        raise ValueError("no class names given")
    if blank := [i for i, n in enumerate(names) if not n.strip()]:
        raise ValueError(f"class name {blank[0]} is empty: remove it or name it")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"class name {name!r} appears twice: each class needs its own name")
        seen.add(name)


def _described(names: list[str], descriptions: Mapping[str, Sequence[str]], phrase: str) -> list[list[str]]:
    if unknown := [n for n in descriptions if n not in names]:
        raise ValueError(f"descriptions for {unknown[0]!r}, which is not among the {len(names)} class names")
    if missing := [n for n in names if not descriptions.get(n)]:
        raise ValueError(f"no description for {missing[0]!r} ({len(missing)} classes in all): describe every class, or none")
    if bare := [n for n in names if isinstance(descriptions[n], str)]:
        raise ValueError(f"the descriptions of {bare[0]!r} are one string: give a list of phrases")
    if "{d}" not in phrase:
        raise ValueError(f"phrase {phrase!r} has no place {{d}} for the description")
    return [[fill(phrase, name, d=d) for d in descriptions[name]] for name in names]
