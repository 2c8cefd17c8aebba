"""Gradients gathered block by block against plain autograd over the whole, for embeddings, their extras and shared parameters."""

from __future__ import annotations

import torch

from pairwright.core.collect import Collector, Side, tensors
from pairwright.core.encoded import Encoded
from pairwright.core.numerics import generator

RNG = generator("collect")
Q, K, BIAS = (torch.randn(*s, generator=RNG, dtype=torch.float64) for s in ((5, 3), (4, 3), (5,)))


def leaves():
    return [t.clone().requires_grad_(True) for t in (Q, K, BIAS, torch.tensor(0.7, dtype=torch.float64))]


def value(q, k, bias, scale):
    return (scale.exp() * q @ k.T + bias[:, None]).tanh().sum()


def in_blocks(step: int, times: float):
    q, k, bias, scale = leaves()
    sums = Collector()
    queries, keys = sums.side(Encoded(q, aux={"bias": bias})), sums.side(Encoded(k))
    everything = slice(0, 4)
    for i in range(0, 5, step):
        rows = slice(i, i + step)
        a, b = queries.piece(rows), keys.piece(everything)
        part = value(a.z_BD, b.z_BD, a.aux["bias"], scale)
        sums.add(part)
        sums.pull(part, None, [(queries, rows, a), (keys, everything, b)])
    total = sums.result()
    (times * total).backward()
    return total.detach(), [t.grad for t in (q, k, bias, scale)]


def test_blocks_of_any_size_give_the_gradients_of_the_whole():
    whole = leaves()
    total = value(*whole)
    total.backward()
    for step in (1, 2, 5):
        for times in (1.0, 3.0):
            found, grads = in_blocks(step, times)
            torch.testing.assert_close(found, total.detach())
            for mine, leaf in zip(grads, whole):
                torch.testing.assert_close(mine, times * leaf.grad)


def test_an_upstream_gradient_is_passed_on_as_it_is():
    q, sums = Q.clone().requires_grad_(True), Collector()
    side, weight = sums.side(Encoded(q)), torch.randn(5, 3, generator=RNG, dtype=torch.float64)
    piece = side.piece(slice(0, 5))
    sums.add(torch.zeros(()))
    sums.pull(piece.z_BD.square(), weight, [(side, slice(0, 5), piece)])
    sums.result().backward()
    torch.testing.assert_close(q.grad, 2 * Q * weight)


def test_what_needs_no_gradient_gets_none():
    q, sums = Q.clone(), Collector()
    side = sums.side(Encoded(q))
    piece = side.piece(slice(1, 3))
    assert not piece.z_BD.requires_grad
    part = piece.z_BD.sum()
    sums.add(part)
    sums.pull(part, None, [(side, slice(1, 3), piece)])
    assert not sums.result().requires_grad
    assert float(sums.result()) == float(Q[1:3].sum())


def test_another_ranks_rows_bring_their_own_sums():
    e = Encoded(Q.clone().requires_grad_(True), norm_B=BIAS.clone())
    carried = Side(e).start()
    assert [g.shape for g in carried] == [(5, 3)]
    there = Side(e).elsewhere([2 * Q, BIAS], carried)
    piece = there.piece(slice(0, 2))
    torch.testing.assert_close(piece.z_BD, 2 * Q[:2])
    there.add(0, slice(0, 2), torch.ones(2, 3, dtype=torch.float64))
    assert carried[0].sum() == 6
    assert not any(t.requires_grad for t in tensors(Side(e).elsewhere([Q, BIAS], []).e))


def test_tensors_are_listed_in_the_order_of_map():
    e = Encoded(Q, BIAS, taps={"1": K}, aux={"a": Q[:1]})
    assert [t.data_ptr() for t in tensors(e)] == [t.data_ptr() for t in (Q, BIAS, K, Q[:1])]
