import contextlib

import pytest
import torch
from torch import nn
from toy import ToyPairs, model

from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.distill.feature_match import FeatureMatch
from pairwright.models.dual import DualEncoder
from pairwright.models.towers.wrapped import Wrapped
from pairwright.train.draws import RowDraws
from pairwright.train.objective import Sum
from pairwright.train.recompute import blocks, recomputed
from pairwright.train.stage import Batch
from pairwright.train.step import gradients


def grads(m, objective, batch, **how):
    m.zero_grad()
    objective.zero_grad()
    values = gradients(m, objective, batch, seed=5, **how)
    g = {n: p.grad.clone() for n, p in [*m.named_parameters(), *objective.named_parameters()] if p.grad is not None}
    return {n: float(v) for n, v in values.items()}, g


def double(batch: Batch, **stored) -> Batch:
    return Batch({"image": batch.inputs["image"].double(), "text": batch.inputs["text"]}, stored, group_B=batch.group_B)


class Shaky(nn.Module):
    """Everything that towers draw in training: dropout of values and of channels, stochastic depth, noise."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not x.is_floating_point():
            x = nn.functional.one_hot(x, 64).double().unsqueeze(1)
        x = nn.functional.dropout(x, 0.2, self.training)
        x = nn.functional.dropout2d(x, 0.2, self.training)
        x = x * x.new_empty(len(x), 1, 1, 1).bernoulli_(0.8)
        return self.body((x + 0.1 * torch.randn_like(x) + 0.1 * torch.rand(len(x), 1, 1, 1)).flatten(1))


def shaky() -> DualEncoder:
    torch.manual_seed(0)
    towers = {"image": Wrapped(Shaky(nn.Linear(768, 24)), 24), "text": Wrapped(Shaky(nn.Linear(384, 24)), 24)}
    return DualEncoder(towers).double().train()


def drops() -> DualEncoder:
    m = model().double().train()
    m.towers["image"].patch_dropout = 0.5
    return m


def close(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize("micro", [1, 5, 16])
@pytest.mark.parametrize("make", [lambda: model().double().train(), drops, shaky], ids=["plain", "patch dropout", "all kinds of dropout"])
@pytest.mark.parametrize("again", [False, True], ids=["", "checkpointed"])
def test_gradient_caching_equals_the_whole_batch(make, micro, again):
    """Of every objective whose views are embeddings, with every kind of dropout on."""
    m = make()
    torch.manual_seed(1)
    objective = Sum({"clip": InfoNCE(), "match": FeatureMatch(24, 10, "text")}, match=0.5).double()
    batch = double(next(ToyPairs().batches(0)), **{"teacher.text": torch.randn(16, 10).double()})
    whole, g_whole = grads(m, objective, batch)
    with recomputed(m, again) if again and blocks(m) else contextlib.nullcontext():
        parts, g_parts = grads(m, objective, batch, micro=micro)
    assert parts == pytest.approx(whole, abs=1e-6)
    close(g_parts, g_whole)


@pytest.mark.parametrize("make", [drops, shaky])
def test_draws_follow_the_seed(make):
    m, objective, batch = make(), Sum({"clip": InfoNCE()}), double(next(ToyPairs().batches(0)))
    one = gradients(m, objective, batch, seed=1)["loss"]
    assert float(one) == float(gradients(m, objective, batch, seed=1)["loss"])
    assert float(one) != float(gradients(m, objective, batch, seed=2)["loss"])


def test_draws_have_their_laws():
    """Uniform, normal and Bernoulli draws by row: moments, no two rows alike, the same for a part of the rows, another for another call."""
    torch.manual_seed(0)
    with RowDraws(0, 64):
        u, z, kept, other = torch.rand(64, 4000), torch.randn(64, 4000), torch.empty(64, 4000).bernoulli_(0.3), torch.rand(64, 4000)
    torch.manual_seed(0)
    with RowDraws(40, 8):
        part = torch.rand(8, 4000)
    assert torch.equal(part, u[40:48])
    assert float(u.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.002)
    assert float(z.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(z.std()) == pytest.approx(1.0, abs=0.01)
    assert float(kept.mean()) == pytest.approx(0.3, abs=0.005)
    both = torch.corrcoef(torch.cat([u, other])).fill_diagonal_(0)
    assert float(both.abs().max()) < 0.1
    across = torch.corrcoef(u.T[:200]).fill_diagonal_(0)
    assert float(across.abs().max()) < 0.75  # 64 values each: chance alone reaches 0.6


@pytest.mark.parametrize("how", ["micro", "recomputed", "both"])
def test_batch_statistics_count_once(how):
    """A second pass in the backward pass leaves the running statistics of batch norm as a single one does."""
    torch.manual_seed(0)
    block = lambda: nn.Sequential(nn.Linear(768, 768), nn.BatchNorm1d(768), nn.ReLU())
    body = nn.Sequential(nn.Flatten(), nn.Sequential(block(), block()), nn.Linear(768, 24))
    m = DualEncoder({"image": Wrapped(body, 24), "text": model().towers["text"]}).train()
    batch, micro = next(ToyPairs().batches(0)), None if how == "recomputed" else 8
    expected = {n: b.clone() for n, b in m.named_buffers()}
    with torch.no_grad():
        for part in batch.inputs["image"].split(micro or 16):
            m.image(part)
    expected, start = {n: b.clone() for n, b in m.named_buffers()}, expected
    for n, b in m.named_buffers():
        b.copy_(start[n])
    with recomputed(m, how != "micro"):
        gradients(m, Sum({"clip": InfoNCE()}), batch, seed=0, micro=micro)
    for n, b in m.named_buffers():
        torch.testing.assert_close(b, expected[n], msg=n)
    assert int(body[1][0][1].num_batches_tracked) == (1 if micro is None else 2)


def test_checkpointing_keeps_gradients_and_a_fraction_of_the_memory():
    from pairwright.models.tiny import tiny

    m = tiny(3, image="vit", size=16, width=32, dim=24, layers=4, patch=4, vocab=64, context=8).train()
    batch, objective = next(ToyPairs().batches(0)), Sum({"clip": InfoNCE()})

    def kept(on: bool) -> tuple[int, dict]:
        seen: dict[int, int] = {}
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t: seen.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t, lambda t: t
        )
        with recomputed(m, on), hooks:
            m.image(batch.inputs["image"])
        with recomputed(m, on):
            return sum(seen.values()), grads(m, objective, batch)[1]

    (plain, expected), (less, found) = kept(False), kept(True)
    close(found, expected)
    assert less < plain / 3
    assert len(blocks(m)) == 8
    assert "forward" not in vars(blocks(m)[0])


def test_a_model_without_blocks_cannot_be_checkpointed():
    with pytest.raises(ValueError, match="no repeated blocks"):
        recomputed(DualEncoder({"image": Wrapped(nn.Linear(2, 2), 2)})).__enter__()


def test_the_loss_is_the_multi_positive_cross_entropy_of_a_plain_loop():
    m = model()
    batch = next(ToyPairs().batches(1))
    values, _ = grads(m, Sum({"clip": InfoNCE()}), batch)
    with torch.no_grad():
        logits = m.scale * m.image(batch.inputs["image"]).z_BD @ m.text(batch.inputs["text"]).z_BD.T
    total = 0.0
    for matrix in (logits, logits.T):
        for i in range(16):
            logp = matrix[i].log_softmax(0)
            mates = [j for j in range(16) if j // 2 == i // 2]
            total -= sum(float(logp[j]) for j in mates) / len(mates)
    assert values["loss"] == pytest.approx(total / 32, rel=1e-5)


def test_weighted_sum_with_a_stored_teacher():
    torch.manual_seed(0)
    m = model()
    match = FeatureMatch(24, 10, "text", "cos")
    objective = Sum({"clip": InfoNCE(), "distill": match}, distill=0.25)
    first = next(ToyPairs().batches(0))
    batch = Batch(first.inputs, {"teacher.text": torch.randn(16, 10)}, first.group_B)
    values, g = grads(m, objective, batch)
    assert values["loss"] == pytest.approx(values["clip"] + 0.25 * values["distill"], rel=1e-6)
    assert "modules_.distill.project.weight" in g
    assert objective.needs == ("image", "text", "teacher.text")


def test_a_view_that_nobody_brings_is_named():
    objective = Sum({"distill": FeatureMatch(24, 10)})
    with pytest.raises(ValueError, match=r"teacher\.text"):
        grads(model(), objective, next(ToyPairs().batches(0)))


def test_unknown_weight_is_refused():
    with pytest.raises(ValueError, match="clap"):
        Sum({"clip": InfoNCE()}, clap=2.0)
