"""ToMe: merge the most similar tokens in every block of a vision transformer, without training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pairwright.compress.tokens.merging import check, join, metric_of, removed
from pairwright.core.card import Card
from pairwright.models.towers.reduce import Reduced

CARD = Card(
    name="ToMe (token merging)",
    symbol="ToMe",
    paper="extra:tome",
    title="Token Merging: Your ViT But Faster",
    year=2023,
    arxiv="2210.09461",
    where="section 3, bipartite soft matching; appendix D",
    equation="A, B = every other token; of the edges a -> argmax_b cos(k_a, k_b) the r strongest merge: x_b <- sum size x / sum size; "
    "attention logits + log size",
    says="Merging r similar tokens a block doubles the throughput of large vision transformers for a drop of a few tenths of a point.",
    needs="an image tower that is a plain transformer; no data",
    cost="a product of half the tokens with the other half in each block; saves about r tokens a block in all that follows",
    use_when="many patches (L/14, B/16 at 384 pixels): redundant ground is merged, speed grows with the number of blocks behind",
    not_when="few patches (B/32 has 49: it gains little); regular patterns, in which every other token is of one kind (pitome)",
    aliases=("token merging", "bipartite soft matching", "faster ViT"),
    neighbours=("compress/tokens/pitome", "compress/tokens/random_drop"),
    deviations=(),
    checks=("mechanism:tome",),
)


@dataclass(frozen=True)
class ToMe:
    """Faster image tower without training: in every block the r most similar patches are merged into their likes.

    r: patches that go in each block; share: instead, which share of them stays (0.5 to 1). r=0 and share=1 are the tower unchanged. Use
    as ``model.image(x, reduce=ToMe(8))``, or for every call as ``model.towers["image"].reduce = ToMe(8)``.

    >>> ToMe(8).left(196, layer=0, depth=12)
    188
    """

    r: int | None = 8
    share: float | None = None

    def __post_init__(self) -> None:
        check(self.r, self.share)

    def left(self, tokens: int, layer: int, depth: int) -> int:
        return tokens - removed(tokens, self.r, self.share)

    def __call__(self, x_BLE: Tensor, k_BHLd: Tensor, *, size_BL: Tensor | None, layer: int, depth: int, prefix: int) -> Reduced | None:
        r = removed(x_BLE.shape[1] - prefix, self.r, self.share)
        if not r:
            return None
        with torch.no_grad():
            metric_BLd = metric_of(k_BHLd)
            score_BST = metric_BLd[:, ::2] @ metric_BLd[:, 1::2].transpose(1, 2)
            score_BST[:, : (prefix + 1) // 2] = -torch.inf  # the class token neither goes …
            score_BST[:, :, : prefix // 2] = -torch.inf  # … nor takes anything up
            best_BS, target_BS = score_BST.max(-1)
            source_BR = best_BS.topk(r, dim=1).indices
        return join(x_BLE, size_BL, 2 * source_BR, 2 * target_BS.gather(1, source_BR) + 1)
