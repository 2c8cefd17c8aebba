"""BankMix: image features mixed with a domain's stored features, as if the image had been met in that domain."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.numerics import unit


def bank_mix(z_BD: Float[Tensor, "B D"], bank_KD: Float[Tensor, "K D"], amount: float = 1.0, sharp: float = 0.1) -> Float[Tensor, "B D"]:
    """unit(z + amount softmax_k(sharp z . f_k) F): unit rows moved towards the rows f_k of a bank that resemble them.

    A small `sharp` (of cosines) takes nearly the mean of the bank, so that what all of its rows share, the look of a domain, is added.
    An amount of 0 and an empty bank leave the rows as they are.

    >>> import torch
    >>> bank_mix(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    tensor([[0.7071, 0.7071]])
    """
    return unit(z_BD + amount * (sharp * z_BD @ bank_KD.T).softmax(-1) @ bank_KD)


def class_bank(z_ND: Float[Tensor, "N D"], label_N: Int[Tensor, " N"]) -> Float[Tensor, "K D"]:
    """One row for each label that occurs, in order: the mean of its features."""
    seen_K, place_N, count_K = label_N.unique(return_inverse=True, return_counts=True)
    sum_KD = z_ND.new_zeros(len(seen_K), z_ND.shape[1]).index_add(0, place_N, z_ND)
    return sum_KD / count_K[:, None]
