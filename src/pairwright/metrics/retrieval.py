"""All retrieval metrics of a collection from its embeddings, in blocks, without a full score matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pairwright.metrics.average_precision import average_precision
from pairwright.metrics.ndcg import ndcg
from pairwright.metrics.ranks import ranks_of
from pairwright.metrics.recall_at_k import recall_at_k


def retrieval(
    z_QD: Any, z_KD: Any, relevant: Any, ks: Sequence[int] = (1, 5, 10), *, block: int = 2**24, items: bool = False
) -> dict[str, Any]:
    """Recall@k, mAP and nDCG of search by dot product: {"recall@1": …, "recall@5": …, "map": …, "ndcg": …}.

    z_QD, z_KD: query and item embeddings (arrays, tensors, Features). relevant: see metrics.ranks.relevant_pairs; for image-text
    retrieval a pair of image ids per side is the easy form. Scores are made `block` at a time. items: arrays with one value per query.
    """
    r = ranks_of(z_QD, z_KD, relevant, block=block)
    found = {f"recall@{k}": recall_at_k(r, k=k, items=items) for k in ks}
    return {**found, "map": average_precision(r, items=items), "ndcg": ndcg(r, items=items)}
