"""Our text transformer: causal (CLIP) or bidirectional (SigLIP), pooled at the end-of-text token or otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.models.towers.block import AttendFn, Rewrite, hidden_width
from pairwright.models.towers.stack import MixFn, Transformer

Pool = Literal["argmax", "eos", "last", "first", "mean"]
_GROUPS, _ROWS = 4, 16  # groups of similar length in a large batch, and the fewest rows that are worth one


class TextTransformer(nn.Module):
    """Text encoder of the CLIP family: token ids (B, L) -> Encoded.

    width: E; heads, layers: of the transformer; dim: joint width D (None: no projection, D = E). pool: which token speaks for the text:
    ``argmax`` (the largest id, where the end-of-text token is the largest), ``eos`` (the first `eos_id`), ``last``, ``first`` or
    ``mean``. causal: each token sees only those before it. pad_mask: a bidirectional tower ignores padding behind the text.

    Call arguments (all optional): ``tokens=True`` adds word tokens in the joint space; ``taps=("3", "attn@5")`` keeps the output of
    block 3 and the attention weights of block 5; ``deep=[P E per layer]`` replaces the P tokens after the first before block i (entry
    None: leave them); ``mix(tokens, layer)`` rewrites the sequence after each block and may shorten it, then returning (tokens, kept
    ids in order); ``attend=`` replaces attention (see Rewrite).

    A causal tower runs only as far as the longest text: nothing behind the end-of-text token can reach it. Large batches run in groups
    of similar length.
    """

    points = frozenset({"tokens", "taps", "deep", "mix", "attend"})

    def __init__(
        self,
        *,
        vocab: int,
        context: int = 77,
        width: int = 512,
        layers: int = 12,
        heads: int = 8,
        dim: int | None = 512,
        mlp_ratio: float = 4.0,
        act: str = "gelu",
        eps: float = 1e-5,
        layer_scale: float | None = None,
        causal: bool = True,
        pool: Pool = "argmax",
        pad_id: int = 0,
        eos_id: int | None = None,
        pad_mask: bool = False,
        proj_bias: bool = False,
    ) -> None:
        spec = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self.spec = {"kind": "text", **spec}
        if pool not in ("argmax", "eos", "last", "first", "mean"):
            raise ValueError(f"unknown pooling {pool!r}: choose one of argmax, eos, last, first, mean")
        if pool == "eos" and eos_id is None:
            raise ValueError("pooling at the eos token needs eos_id")
        self.width = width if dim is None else dim
        self.encoder_width, self.depth = width, layers
        self.vocab, self.context, self.causal, self.pool = vocab, context, causal, pool
        self.pad_id, self.eos_id, self.pad_mask = pad_id, eos_id, pad_mask
        self.token_embedding = nn.Embedding(vocab, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.transformer = Transformer(
            width, layers, heads, mlp_width=hidden_width(width, mlp_ratio), act=act, eps=eps, layer_scale=layer_scale
        )
        self.ln_final = nn.LayerNorm(width, eps)
        self.text_projection: nn.Parameter | nn.Linear | None = None
        if dim is not None:
            self.text_projection = nn.Linear(width, dim) if proj_bias else nn.Parameter(torch.empty(width, dim))
        self._init(width, layers)

    def _init(self, width: int, layers: int) -> None:
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.out_proj.weight, std=(2 * layers * width) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=(2 * layers * width) ** -0.5)
        if isinstance(self.text_projection, nn.Linear):
            nn.init.normal_(self.text_projection.weight, std=width**-0.5)
            nn.init.zeros_(self.text_projection.bias)
        elif self.text_projection is not None:
            nn.init.normal_(self.text_projection, std=width**-0.5)

    def eot(self, ids_BL: Int[Tensor, "B L"]) -> Int[Tensor, " B"]:
        """Position of the last token that counts in each row: (B, L) -> (B,)."""
        if self.pool == "argmax":
            return ids_BL.argmax(-1)
        if self.pool == "eos":
            return (ids_BL == self.eos_id).int().argmax(-1)
        if self.pad_mask:
            places = torch.arange(ids_BL.shape[1], device=ids_BL.device)
            return ((ids_BL != self.pad_id) * places).amax(-1)
        return torch.full((ids_BL.shape[0],), ids_BL.shape[1] - 1, device=ids_BL.device)

    def embed_tokens(self, ids_CL: Int[Tensor, "C L"]) -> Float[Tensor, "C L E"]:
        """Token embeddings before positions: (C, L) -> (C, L, E)."""
        if ids_CL.shape[1] > self.context:
            raise ValueError(
                f"texts of {ids_CL.shape[1]} tokens, but this text tower holds {self.context}: truncate them (keep the end token)"
            )
        return self.token_embedding(ids_CL)

    def forward(self, ids_BL: Int[Tensor, "B L"], **ask: object) -> Encoded:
        eot_B = self.eot(ids_BL)
        if len(ids_BL) >= _GROUPS * _ROWS and not ask and self._cuts():
            return self._by_length(ids_BL, eot_B)
        return self.from_embeddings(self.embed_tokens(ids_BL[:, : self._reach(ids_BL.shape[1], eot_B)]), eot_B, **ask)  # type: ignore[arg-type]

    def _by_length(self, ids_BL: Tensor, eot_B: Tensor) -> Encoded:
        """The same rows in groups of similar length, so that one long text does not make all the others long."""
        order_B = eot_B.argsort()
        parts = []
        for rows in order_B.chunk(_GROUPS):
            reach = self._reach(ids_BL.shape[1], eot_B[rows])
            parts.append(self.from_embeddings(self.embed_tokens(ids_BL[rows, :reach]), eot_B[rows]))
        return Encoded.cat(parts).rows(order_B.argsort())

    def _cuts(self) -> bool:
        """Whether tokens behind the last one that counts cannot influence the output."""
        return (self.causal and self.pool in ("argmax", "eos")) or self.pad_mask

    def _reach(self, length: int, eot_B: Tensor) -> int:
        """How many leading tokens can influence the output."""
        return int(eot_B.max()) + 1 if self._cuts() and len(eot_B) else length

    def from_embeddings(
        self,
        emb_CLE: Float[Tensor, "C L E"],
        eot_C: Int[Tensor, " C"],
        deep: Sequence[Tensor | None] | None = None,
        *,
        tokens: bool = False,
        taps: Sequence[str] = (),
        mix: MixFn | None = None,
        attend: AttendFn | Rewrite | None = None,
    ) -> Encoded:
        """The tower from token embeddings (C, L, E) on (learned prompts, pseudo-words); positions are added here."""
        emb_CLE = emb_CLE[:, : self._reach(emb_CLE.shape[1], eot_C)]
        L = emb_CLE.shape[1]
        if self.context < L:
            raise ValueError(f"texts of {L} tokens, but this text tower holds {self.context}: use shorter prompts")
        x = emb_CLE.to(self.positional_embedding.dtype) + self.positional_embedding[:L]
        real_CL = torch.arange(L, device=x.device) <= eot_C[:, None]
        state = self.transformer(
            x,
            causal=self.causal,
            mask_BL=real_CL if self.pad_mask else None,
            taps=taps,
            put=_deep_put(deep),
            mix=mix,
            attend=attend,
            only=None if tokens or self.pool == "mean" else self._place(eot_C),
        )
        if state.alone:
            return Encoded.of(self.project(self.ln_final(state.x_BLE[:, 0])), taps=state.taps)
        if state.kept_BL is not None:
            real_CL = real_CL.gather(1, state.kept_BL)
            here = state.kept_BL == eot_C[:, None]
            if self.pool in ("argmax", "eos", "last") and not here.any(1).all():
                raise ValueError("the mix hook dropped an end-of-text token, which this tower pools at: keep it")
            eot_C = here.int().argmax(1)
        words = self.project(self.ln_final(state.x_BLE)) if tokens else None
        aux = {} if state.kept_BL is None else {"kept_BM": state.kept_BL}
        return Encoded.of(
            self._pooled(state.x_BLE, eot_C, real_CL),
            tokens_BMD=words,
            mask_BM=real_CL if tokens else None,
            taps=state.taps,
            aux=aux,
        )

    def _pooled(self, x_CLE: Tensor, eot_C: Tensor, real_CL: Tensor) -> Tensor:
        if self.pool == "mean":
            w = real_CL.to(x_CLE.dtype).unsqueeze(-1) if self.pad_mask else torch.ones_like(x_CLE[..., :1])
            return self.project((self.ln_final(x_CLE) * w).sum(1) / w.sum(1))
        return self.project(self.ln_final(x_CLE[torch.arange(len(x_CLE), device=x_CLE.device), self._place(eot_C)]))

    def _place(self, eot_C: Tensor) -> Tensor:
        """The token that pooling takes, for the poolings that take one."""
        return torch.zeros_like(eot_C) if self.pool == "first" else eot_C

    def project(self, x: Tensor) -> Tensor:
        """Width E -> joint width D."""
        if self.text_projection is None:
            return x
        return self.text_projection(x) if isinstance(self.text_projection, nn.Linear) else x @ self.text_projection


def _deep_put(deep: Sequence[Tensor | None] | None):
    """Before block i, the P tokens behind the first one become deep[i] (P, E) or (C, P, E)."""
    if not deep:
        return None

    def put(x: Tensor, layer: int) -> Tensor:
        new = deep[layer] if layer < len(deep) else None
        if new is None or new.shape[-2] == 0:
            return x
        P = new.shape[-2]
        if x.shape[1] < 1 + P:
            raise ValueError(
                f"{P} deep prompts do not fit into texts of {x.shape[1]} tokens: put as many placeholder tokens behind the first"
            )
        return torch.cat([x[:, :1], new.to(x.dtype).expand(x.shape[0], -1, -1), x[:, 1 + P :]], 1)

    return put
