import contextlib

import pytest
import torch
from toy import ToyPairs, model

from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.distill.feature_match import FeatureMatch
from pairwright.train.objective import Sum
from pairwright.train.stage import Batch
from pairwright.train.step import gradients


def grads(m, objective, batch, **how):
    m.zero_grad()
    objective.zero_grad()
    values = gradients(m, objective, batch, seed=5, context=contextlib.nullcontext, **how)
    return values, {n: p.grad.clone() for n, p in [*m.named_parameters(), *objective.named_parameters()] if p.grad is not None}


@pytest.mark.parametrize("micro", [1, 5, 16])
def test_gradient_caching_equals_the_whole_batch(micro):
    m = model().double().train()
    objective = Sum({"clip": InfoNCE()})
    batch = next(ToyPairs().batches(0))
    batch = Batch({"image": batch.inputs["image"].double(), "text": batch.inputs["text"]}, group_B=batch.group_B)
    whole, g_whole = grads(m, objective, batch)
    parts, g_parts = grads(m, objective, batch, micro=micro)
    assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-6)
    assert g_whole.keys() == g_parts.keys()
    for name in g_whole:
        torch.testing.assert_close(g_parts[name], g_whole[name], atol=1e-6, rtol=1e-5)


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
