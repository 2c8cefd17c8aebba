"""Laws of every loss: see DESIGN, section 5. Row losses are also tested chunked and over simulated ranks."""

from __future__ import annotations

import inspect

import pytest
import torch
from discover import mechanisms

from pairwright.core import dist
from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import unit
from pairwright.core.rows import row_loss
from pairwright.data.world.pairs import Maps, simulate_pairs

LOSSES = mechanisms("losses")
D = 8
GROUPS = torch.tensor([0, 1, 2, 0, 3, 4, 4, 4, 5, 6, 7, 1])
every_loss = pytest.mark.parametrize("cls", LOSSES)


def make(cls):
    """A loss with its default settings. The only arguments that a loss may require are widths (`width`, `teacher_width` …)."""
    required = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    strange = [n for n in required if not n.endswith("width")]
    assert not strange, f"{cls.__name__} has no default for {strange}"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return cls(**dict.fromkeys(required, D))


def owned(loss) -> list[torch.nn.Parameter]:
    return list(loss.parameters()) if isinstance(loss, torch.nn.Module) else []


class Setup:
    """Leaves (raw embeddings of each view, scale, bias, a similarity matrix) and the step made from them."""

    def __init__(self, loss, seed=0, B=12, dtype=torch.float64, scale=5.0):
        g = torch.Generator().manual_seed(seed)
        names = (*loss.needs, "unused")
        self.raw = {n: torch.randn(B, D, generator=g, dtype=dtype).requires_grad_() for n in names}
        self.scale = torch.tensor(scale, dtype=dtype, requires_grad=True)
        self.bias = torch.tensor(-1.0, dtype=dtype, requires_grad=True)
        self.matrix = (torch.eye(D, dtype=dtype) + 0.1 * torch.randn(D, D, generator=g, dtype=dtype)).requires_grad_()
        self.loss = loss.to(dtype) if isinstance(loss, torch.nn.Module) else loss

    def logits(self, q: Encoded, k: Encoded) -> torch.Tensor:
        return self.scale * q.z_BD @ self.matrix @ k.z_BD.T + self.bias

    def z(self, cast=lambda t: t):
        return {n: cast(unit(x)) for n, x in self.raw.items()}

    def value(self, views: Views, chunk: int | None = None) -> torch.Tensor:
        return row_loss(self.loss, views, self.logits, chunk=chunk) if hasattr(self.loss, "rows") else self.loss(views)

    def leaves(self):
        return {**{n: self.raw[n] for n in self.loss.needs}, "scale": self.scale, "bias": self.bias, "matrix": self.matrix}

    def gradients(self, total: torch.Tensor):
        found = torch.autograd.grad(total, list(self.leaves().values()), allow_unused=True)
        return {n: g for n, g in zip(self.leaves(), found) if g is not None}


def step(z, groups=GROUPS, **more) -> Views:
    B = len(next(iter(z.values())))
    return Views({n: Encoded(x) for n, x in z.items()}, group_B=groups, sample_B=torch.arange(B), **more)


@every_loss
@pytest.mark.parametrize("scale", [1.0, 100.0, 1000.0])
def test_finite_even_for_hard_input(cls, scale):
    loss = make(cls)
    for B, same in ((12, False), (12, True), (1, False)):
        s = Setup(loss, B=B, dtype=torch.float32, scale=scale)
        z = {n: x[:1].expand(B, D) for n, x in s.z().items()} if same else s.z()
        total = s.value(step(z, None))
        assert total.ndim == 0
        assert torch.isfinite(total)
        assert all(torch.isfinite(g).all() for g in s.gradients(total).values())


@every_loss
def test_order_of_rows_is_irrelevant(cls):
    s = Setup(make(cls))
    perm = torch.randperm(len(GROUPS), generator=torch.Generator().manual_seed(1))
    a = s.value(step(s.z()))
    shuffled = step({n: x[perm] for n, x in s.z().items()}, GROUPS[perm])
    shuffled.sample_B = torch.arange(len(GROUPS))[perm]
    torch.testing.assert_close(s.value(shuffled), a, rtol=1e-12, atol=1e-12)


@every_loss
def test_gradients_reach_exactly_what_it_needs(cls):
    loss = make(cls)
    s = Setup(loss)
    total = s.value(step(s.z()))
    trained = [n for n in loss.needs if not n.startswith(("teacher.", "ema.", "frozen."))]
    grads = torch.autograd.grad(total, list(s.raw.values()), allow_unused=True)
    for name, g in zip(s.raw, grads):
        if name in trained:
            assert g is not None, name
            assert g.abs().max() > 1e-6, name
        else:
            assert g is None, name


@every_loss
def test_fifty_steps_on_planted_pairs_lower_it(cls):
    loss = make(cls)
    pairs = simulate_pairs(0, 128)
    maps = Maps(pairs, width=D)
    g = torch.Generator().manual_seed(0)
    concepts = pairs.concept_GU[pairs.group_N]
    teacher = unit(concepts @ torch.randn(concepts.shape[1], D, generator=g))
    bias = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([*maps.parameters(), *owned(loss), bias], lr=1e-2)
    values = []
    for _ in range(51):
        image, text = maps(pairs.image_ND, pairs.text_ND)
        z = {n: teacher if "." in n else text if n == "text" else image for n in loss.needs}
        views = step(z, None)
        logits = lambda q, k: maps.logit_scale.exp() * q.z_BD @ k.z_BD.T + bias
        total = row_loss(loss, views, logits) if hasattr(loss, "rows") else loss(views)
        values.append(float(total.detach()))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    assert values[-1] < 0.5 * values[0]


@every_loss
def test_bf16_is_close_to_fp32(cls):
    s = Setup(make(cls), dtype=torch.float32)
    whole = s.value(step(s.z()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = s.value(step(s.z(lambda t: t.bfloat16())))
    assert half.dtype == torch.float32
    assert abs(half - whole).item() < 0.02 * whole.item()


ROW_LOSSES = [p for p in LOSSES if hasattr(p.values[0], "rows")]


@pytest.mark.parametrize("cls", ROW_LOSSES)
@pytest.mark.parametrize("chunk", [1, 5, 12, 99])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_chunked_equals_whole(cls, chunk, dtype, tolerance):
    s = Setup(make(cls), dtype=dtype)
    whole, parts = s.value(step(s.z())), s.value(step(s.z()), chunk=chunk)
    torch.testing.assert_close(parts, whole, rtol=tolerance, atol=tolerance)
    a, b = s.gradients(whole), s.gradients(parts)
    assert a.keys() == b.keys() == s.leaves().keys()
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("cls", ROW_LOSSES)
@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["diagonal", "groups"])
def test_simulated_ranks_equal_one_process(cls, ranks, groups, monkeypatch):
    s = Setup(make(cls))
    present = {s.loss.needs[1]: torch.arange(12) % 5 != 3}
    one = s.value(step(s.z(), groups, present=present))
    expected = s.gradients(one)
    z, b = s.z(), 12 // ranks
    blanked = z[s.loss.needs[1]].masked_fill(~present[s.loss.needs[1]][:, None], 0.0)
    known = [*z.values(), blanked, *present.values(), *([] if groups is None else [groups])]
    total = 0
    for rank in range(ranks):
        mine = slice(rank * b, (rank + 1) * b)

        def gather(x, mine=mine):
            # the batch that this piece is a piece of; its gradient then flows to all ranks' rows, as the all-reduce in backward does
            return next(t for t in known if t.shape[1:] == x.shape[1:] and t.dtype == x.dtype and torch.equal(t[mine], x))

        monkeypatch.setattr(dist, "rank", lambda r=rank: r)
        monkeypatch.setattr(dist, "world", lambda: ranks)
        monkeypatch.setattr(dist, "gather_rows", gather)
        local = step(
            {n: x[mine] for n, x in z.items()}, None if groups is None else groups[mine], present={n: m[mine] for n, m in present.items()}
        )
        total = total + s.value(local, chunk=2)
    # every rank returns its share; DistributedDataParallel averages gradients, so the mean is what counts
    torch.testing.assert_close(total / ranks, one, rtol=1e-10, atol=1e-12)
    for name, g in s.gradients(total / ranks).items():
        torch.testing.assert_close(g, expected[name], rtol=1e-10, atol=1e-12, msg=name)


def test_there_are_losses():
    assert {p.id for p in LOSSES} >= {"losses/contrast/info_nce", "losses/contrast/sigmoid"}
