"""Signatures: an image described by its distribution over the class texts, and affinities from the divergence of two of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.heads.descent import by_content

_BLOCK = 2**24  # pairs in memory at once
_SAMPLE = 2048  # support rows whose pairs show the span: all pairs of 16,000 rows would take a minute


def log_signature(z_ND: Float[Tensor, "N D"], text_CD: Float[Tensor, "C D"], temperature: float) -> Float[Tensor, "N C"]:
    """log softmax_c(z . W_c / temperature)."""
    return (z_ND @ text_CD.T / temperature).log_softmax(1)


def divergence(log_p_NC: Float[Tensor, "N C"], log_q_KC: Float[Tensor, "K C"]) -> Float[Tensor, "N K"]:
    """KL(p_n || q_k) of all pairs as one matrix product.

    Both logarithms are taken relative to the mean of q. That changes nothing in exact arithmetic, and keeps float32 from losing the small
    differences of nearly uniform distributions beside log C.
    """
    centre_C = log_q_KC.mean(0)
    p_NC = log_p_NC.exp()
    return (p_NC * (log_p_NC - centre_C)).sum(1, keepdim=True) - p_NC @ (log_q_KC - centre_C).T


def scaling(log_q_KC: Float[Tensor, "K C"], rows_KD: Float[Tensor, "K D"], keys_KD: Float[Tensor, "K D"]) -> tuple[float, float]:
    """(slope, far) so that slope * (far - KL) spans over the pairs of support rows what the cosines of rows and keys span.

    far is the largest divergence of two support rows. Both are 0 where there are not two of them. Of more than 2,048 support rows, the
    first so many in the order of their content stand for all.
    """
    if len(log_q_KC) > _SAMPLE:
        some = by_content(rows_KD)[:_SAMPLE]
        log_q_KC, rows_KD, keys_KD = log_q_KC[some], rows_KD[some], keys_KD[some]
    low, high = [torch.inf, torch.inf], [-torch.inf, -torch.inf]
    K = len(log_q_KC)
    step = max(1, _BLOCK // max(K, 1))
    for i in range(0, K, step):
        rows = slice(i, i + step)
        other = torch.arange(K)[rows, None] != torch.arange(K)
        for j, pairs in enumerate((divergence(log_q_KC[rows], log_q_KC), rows_KD[rows] @ keys_KD.T)):
            if other.any():
                low[j] = min(low[j], float(pairs[other].min()))
                high[j] = max(high[j], float(pairs[other].max()))
    if K < 2 or high[0] <= low[0]:
        return 0.0, 0.0
    return (high[1] - low[1]) / (high[0] - low[0]), high[0]


def signature_votes(log_p_NC: Tensor, log_q_KC: Tensor, labels_K: Tensor, classes: int, slope: float, far: float) -> Float[Tensor, "N C"]:
    """Sum over the support rows of each class of the affinity slope * (far - KL)."""
    votes_NC = log_p_NC.new_zeros(len(log_p_NC), classes)
    step = max(1, _BLOCK // max(len(log_q_KC), 1))
    for i in range(0, len(log_p_NC), step):
        votes_NC[i : i + step].index_add_(1, labels_K, slope * (far - divergence(log_p_NC[i : i + step], log_q_KC)))
    return votes_NC
