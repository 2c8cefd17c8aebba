"""The model object: named towers, a similarity, a scale and a bias, with the preprocessing and tokenizer that belong to the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pairwright.core import io
from pairwright.core.encoded import Encoded
from pairwright.models.similarity.cosine import Cosine


class DualEncoder(nn.Module):
    """Two (or more) encoders into one space.

    towers: modality name -> tower (see contracts.Tower); ``"image"`` and ``"text"`` by convention. similarity: rows x columns -> logits
    before scale and bias. logit_scale: the initial *log* scale (log 1/0.07 by default). logit_bias: None for softmax-trained models.
    preprocess: PIL image -> tensor (3, H, W); tokenizer: list of strings -> int64 (n, L). config: what is needed to build it again.
    """

    def __init__(
        self,
        towers: Mapping[str, nn.Module],
        similarity: nn.Module | None = None,
        *,
        logit_scale: float = math.log(1 / 0.07),
        logit_bias: float | None = None,
        preprocess: Callable[[Any], Tensor] | None = None,
        tokenizer: Callable[[Sequence[str]], Tensor] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.similarity = similarity if similarity is not None else Cosine()
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale)))
        self.logit_bias = None if logit_bias is None else nn.Parameter(torch.tensor(float(logit_bias)))
        self.preprocess = preprocess
        self.tokenizer = tokenizer
        self.config = dict(config or {})
        self._fingerprint: tuple[tuple[int, ...], str] | None = None

    @property
    def width(self) -> int:
        """The joint width D."""
        return next(iter(self.towers.values())).width

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale): logits = scale * similarity + bias."""
        return self.logit_scale.exp()

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    def encode(self, name: str, x: Tensor, **ask: Any) -> Encoded:
        """Run the tower `name`. `ask` goes to the tower: ``tokens=True``, ``taps=("7",)``, ``deep=``, ``mix=``, ``attend=``."""
        if name not in self.towers:
            raise ValueError(f"this model has no {name!r} tower; it has {', '.join(self.towers)}")
        return self.towers[name](x, **ask)

    def image(self, x_B3HW: Tensor, **ask: Any) -> Encoded:
        """Preprocessed images (B, 3, H, W) -> Encoded."""
        return self.encode("image", x_B3HW, **ask)

    def text(self, ids_BL: Tensor, **ask: Any) -> Encoded:
        """Token ids (B, L) -> Encoded."""
        return self.encode("text", ids_BL, **ask)

    def forward(self, **batches: Tensor) -> dict[str, Encoded]:
        """Encode several modalities at once: ``model(image=x, text=ids)``."""
        return {name: self.encode(name, x) for name, x in batches.items()}

    def logits(self, q: Encoded, k: Encoded) -> Tensor:
        """Scaled and biased similarities, (b, B)."""
        logits = self.scale * self.similarity(q, k)
        return logits if self.logit_bias is None else logits + self.logit_bias

    def embed_tokens(self, ids_CL: Tensor) -> Tensor:
        """Token ids (C, L) -> token embeddings (C, L, E), before positions."""
        return self.towers["text"].embed_tokens(ids_CL)

    def text_from(self, emb_CLE: Tensor, eot_C: Tensor, deep: Sequence[Tensor] | None = None) -> Encoded:
        """Text tower from token embeddings (C, L, E) and the position of the end-of-text token (C,)."""
        return self.towers["text"].from_embeddings(emb_CLE, eot_C, deep=deep)

    def text_with(self, ids_CL: Tensor, words_CKE: Tensor, at: int) -> Encoded:
        """Text in which the K tokens from position `at` are replaced by given word embeddings (pseudo-words): (C, L), (C, K, E)."""
        emb_CLE = self.embed_tokens(ids_CL).clone()
        emb_CLE[:, at : at + words_CKE.shape[1]] = words_CKE.to(emb_CLE.dtype)
        return self.text_from(emb_CLE, self.towers["text"].eot(ids_CL))

    @property
    def fingerprint(self) -> str:
        """Short hash of weights, preprocessing and token reduction: features that share it may be compared. Cached until one changes."""
        version = tuple(p._version for p in self.state_dict(keep_vars=True).values())
        version += tuple(id(getattr(t, "reduce", None)) for t in self.towers.values())
        if self._fingerprint is None or self._fingerprint[0] != version:
            weights = io.hash_tensors({k: v.float() for k, v in self.state_dict().items() if not k.startswith("logit_")})
            how = [weights, getattr(self.preprocess, "config", None)]
            how += [f"{name}: {t.reduce}" for name, t in self.towers.items() if getattr(t, "reduce", None) is not None]
            self._fingerprint = (version, io.hash_json(how)[:16])
        return self._fingerprint[1]
