"""Class names as token rows with room for learned tokens, and the text tower run on such rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.encoded import Encoded
from pairwright.core.features import EncoderMismatch
from pairwright.core.numerics import generator, unit
from pairwright.data.text.templates import fill, templates


def prompt_ids(model: Any, names: Sequence[str], context: int | str) -> tuple[Int[Tensor, "C L"], int]:
    """Token ids of one prompt a class, whose tokens 1 … M are to be learned, and M.

    model: has a tokenizer and `embed_tokens` (a DualEncoder with a plain text transformer). context: a number M puts M places between the
    start token and the bare name; a template (``"a photo of a {}."``) offers its words in front of the name. Raises ValueError where a name
    and M tokens do not fit into the text tower, and where names are empty or repeated.
    """
    if getattr(model, "tokenizer", None) is None:
        raise ValueError("this model has no tokenizer: load it with pairwright.load, or set model.tokenizer")
    _check_names(names)
    model.embed_tokens(model.tokenizer(names[:1]).to(model.device))  # a tower without this point says so
    if isinstance(context, str):
        return _from_template(model, names, context)
    if context < 1:
        raise ValueError(f"context must be at least one learned token, or a template such as 'a photo of a {{}}', got {context}")
    ids_CL = model.tokenizer(list(names))
    tower = model.towers["text"]
    if tower.pool in ("argmax", "eos") or tower.pad_mask:
        fits_C = tower.eot(ids_CL) + context < ids_CL.shape[1]
    else:
        fits_C = (ids_CL[:, -context:] == tower.pad_id).all(1)
    if not fits_C.all():
        name = names[int((~fits_C).nonzero()[0])]
        raise ValueError(f"{name!r} and {context} learned tokens do not fit into texts of {ids_CL.shape[1]} tokens: learn fewer tokens")
    # what stands in the places is never read: any ordinary token will do, and a name's first is one
    places_CM = ids_CL[:, 1:2].expand(-1, context)
    return torch.cat([ids_CL[:, :1], places_CM, ids_CL[:, 1:-context]], 1).to(model.device), context


def start_tokens(model: Any, ids_CL: Tensor, M: int, context: int | str, per_class: bool, seed: int) -> Float[Tensor, "*C M E"]:
    """Where learning starts: the embeddings of the template's words, or N(0, 0.02^2); one set, or one for each class.

    Random sets of classes are keyed by what the class is called, so that the order of the classes does not matter.
    """
    if isinstance(context, str):
        words_CME = model.embed_tokens(ids_CL[:, 1 : 1 + M]).detach().clone()
        return words_CME if per_class else words_CME[0]
    E = model.embed_tokens(ids_CL[:1, :1]).shape[-1]
    draw = lambda *key: 0.02 * torch.randn(M, E, generator=generator("context", seed, *key))
    start = torch.stack([draw(*row) for row in ids_CL.tolist()]) if per_class else draw()
    return start.to(model.device)


def encode_with(
    model: Any, ids_CL: Int[Tensor, "C L"], tokens: Float[Tensor, "*C M E"], deep: Sequence[Tensor | None] | None = None, **ask: Any
) -> Encoded:
    """Run the text tower on rows whose tokens 1 … M are the given embeddings: one set for all (M, E), or one a row (C, M, E).

    deep: tokens that take the places from 1 on before block 0, 1, … (None: what the block before left there). ask: what else the tower
    may be asked for, such as ``taps``.
    """
    M = tokens.shape[-2]
    emb_CLE = model.embed_tokens(ids_CL)
    tokens_CME = tokens.to(emb_CLE.dtype).expand(len(ids_CL), -1, -1)
    rows_CLE, tower = torch.cat([emb_CLE[:, :1], tokens_CME, emb_CLE[:, 1 + M :]], 1), model.towers["text"]
    return tower.from_embeddings(rows_CLE, tower.eot(ids_CL), deep, **ask)


def check_fitted(learner: Any, model: Any) -> None:
    """Raise unless the learner's tokens were learned, and for this model."""
    if not hasattr(learner, "encoder_"):
        raise ValueError(f"this {type(learner).__name__} is not fitted yet: call fit(model, names, …) first")
    if model.fingerprint != learner.encoder_:
        raise EncoderMismatch("these tokens were learned for another model: fit them again for this one")


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """The model in eval mode and without gradients for its weights; afterwards as it was before."""
    training = {m: m.training for m in model.modules()}
    asked = [p for p in model.parameters() if p.requires_grad]
    try:
        model.eval()
        for p in asked:
            p.requires_grad_(False)
        yield
    finally:
        for m, was in training.items():
            m.training = was
        for p in asked:
            p.requires_grad_(True)


@torch.no_grad()
def hand_text(model: Any, names: Sequence[str], template: str | Sequence[str]) -> Float[Tensor, "C D"]:
    """Class text of hand-written prompts, (C, D): the unit mean over one template or several."""
    rows = templates(template)
    with frozen(model):
        z = [model.text(model.tokenizer([fill(t, n) for n in names]).to(model.device)).z_BD for t in rows]
    return z[0] if len(z) == 1 else unit(torch.stack(z).mean(0))


def _from_template(model: Any, names: Sequence[str], template: str) -> tuple[Tensor, int]:
    (template,) = templates([template])
    ids_CL = model.tokenizer([fill(template, n) for n in names])
    words_L = model.tokenizer([template[: template.index("{")].strip()])[0]
    same_L = (ids_CL == words_L).all(0)
    M = int(same_L[1:].int().cumprod(0).sum())
    if M < 1 or len(words_L) == M + 1:
        raise ValueError(f"the template {template!r} has no words in front of the class name to start from: give a number of tokens")
    return ids_CL.to(model.device), M


def _check_names(names: Sequence[str]) -> None:
    if not len(names):
        raise ValueError("no class names given")
    if blank := [i for i, n in enumerate(names) if not str(n).strip()]:
        raise ValueError(f"class name {blank[0]} is empty: remove it or name it")
    if len(set(names)) < len(names):
        twice = next(n for n in names if list(names).count(n) > 1)
        raise ValueError(f"class name {twice!r} appears twice: each class needs its own name")
