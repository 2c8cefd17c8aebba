"""Encoders that are not plain transformers, used as they come from open_clip or transformers: fewer extension points, and it says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from pairwright.core.encoded import Encoded


def pooled(output: Any) -> Tensor:
    """The embedding in whatever an encoder returned: a tensor, a tuple whose first entry it is, or a transformers output.

    transformers 5 returns an output object from ``get_image_features`` and ``get_text_features`` where version 4 returned a tensor.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)):
        return pooled(output[0])
    for name in ("pooler_output", "image_embeds", "text_embeds"):
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    raise TypeError(f"no embedding found in a {type(output).__name__}")


def refuse(what: str, ask: Mapping[str, Any], points: frozenset[str] = frozenset()) -> None:
    """Raise if something was asked for (None, False and empty lists are not asking) that is not among the extension points."""
    lacks = sorted(k for k, v in ask.items() if v is not None and v is not False and _size(v) and k not in points)
    if lacks:
        offers = ", ".join(sorted(points)) or "nothing of the kind"
        raise ValueError(f"{what} lacks {', '.join(lacks)}; it offers {offers}. A plain ViT or text transformer offers them.")


def _size(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 1


class Wrapped(nn.Module):
    """One encoder of a foreign model: ``encode(x)`` gives the embedding.

    module: holds the parameters. width: joint width D. others: further parts of the foreign model that belong to the checkpoint (a
    caption decoder). encode: what to call instead of the module itself, for models whose projection lives elsewhere.
    """

    points: frozenset[str] = frozenset()

    def __init__(
        self,
        module: nn.Module,
        width: int,
        *,
        name: str = "",
        others: Mapping[str, nn.Module] | None = None,
        encode: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.others = nn.ModuleDict(others or {})
        self.width = width
        self.name = name or type(module).__name__
        self._encode = (encode,)  # a tuple hides a bound method's model from parameter registration

    def forward(self, x: Tensor, **ask: Any) -> Encoded:
        refuse(f"{self.name} is used as it comes and", ask)
        if x.is_floating_point():
            x = x.to(next(self.module.parameters()).dtype)
        encode = self._encode[0]
        return Encoded.of(pooled(self.module(x) if encode is None else encode(x)))

    def embed_tokens(self, ids_CL: Tensor) -> Tensor:
        """Not offered: raises with the reason (prompt learning needs a tower of our own)."""
        raise ValueError(
            f"{self.name} is used as it comes and does not take token embeddings; choose a model with a plain text transformer"
        )
