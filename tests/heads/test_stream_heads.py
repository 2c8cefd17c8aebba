"""Stream heads against slow lists and loops in numpy, and their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pairwright.core.features import ClassText
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.stream.confident_views import ConfidentViews, like_the_first
from pairwright.heads.stream.dynamic_cache import DynamicCache
from pairwright.heads.stream.prototype_memory import PrototypeMemory
from pairwright.heads.stream.views import confident, entropy, run
from pairwright.heads.stream.zero_temperature import ZeroTemperature
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=4, width=10, test_per_class=15, shots=1)
W, SCALE = SIM.text.W_CD.double().numpy(), SIM.text.scale
VIEWS = unit(SIM.test.z[:, None] + torch.randn(60, 10, 10, generator=generator("stream views")) / 10**0.5).double().numpy()


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def doubt(p):
    return -(p * np.log(p)).sum(-1)


def surest(logits, keep):
    return sorted(range(len(logits)), key=lambda a: doubt(softmax(logits[a])))[: max(1, int(keep * len(logits)))]


def test_dynamic_cache_is_the_papers_with_lists_of_lists():
    positive, negative, expected = {}, {}, []

    def offer(cache, c, size, item):
        rows = cache.setdefault(c, [])
        if len(rows) < size:
            rows.append(item)
        elif item[0] < max(r[0] for r in rows):
            rows.remove(max(rows, key=lambda r: r[0]))
            rows.append(item)

    for views in VIEWS:
        logits = SCALE * views @ W.T
        kept = surest(logits, 0.3)
        p = softmax(logits[kept]).mean(0)
        z = views[kept].mean(0) / np.linalg.norm(views[kept].mean(0))
        score, c = logits[kept].mean(0), int(logits[kept].mean(0).argmax())
        offer(positive, c, 2, (doubt(p), z, np.eye(4)[c]))
        if 0.2 < doubt(p) / math.log2(4) < 0.5:
            offer(negative, c, 1, (doubt(p), z, (p > 0.03).astype(float)))
        votes = lambda cache, beta, z=z: sum((np.exp(-beta * (1 - z @ k)) * v for rows in cache.values() for _, k, v in rows), np.zeros(4))
        expected.append(score + 3 * votes(positive, 5) - 0.5 * votes(negative, 1))
    assert negative
    head = DynamicCache(alpha=3.0, positive=2, alpha_n=0.5, negative=1, keep=0.3).fit(None, SIM.text)
    np.testing.assert_allclose(run(head, VIEWS), expected, rtol=1e-4, atol=1e-3)


def test_prototype_memory_is_attention_over_lists():
    memory, expected = {c: [] for c in range(4)}, []
    for z in SIM.test.z.double().numpy():
        logits = SCALE * W @ z
        c, h = int(logits.argmax()), doubt(softmax(logits))
        memory[c].append((h, z))
        memory[c] = sorted(memory[c], key=lambda r: r[0])[:3]
        prototypes = []
        for d in range(4):
            total = sum(np.exp(-4 * (1 - z @ m)) * m for m in [W[d], *(m for _, m in memory[d])])
            prototypes.append(total / np.linalg.norm(total))
        expected.append(logits + 0.7 * SCALE * np.array(prototypes) @ z)
    head = PrototypeMemory(alpha=0.7, beta=4.0, size=3).fit(None, SIM.text)
    np.testing.assert_allclose(run(head, SIM.test.z), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("keep", [0.1, 0.3, 1.0])
def test_confident_views_are_the_mean_of_the_surest(keep):
    expected = [np.log(softmax(SCALE * v[surest(SCALE * v @ W.T, keep)] @ W.T).mean(0)) for v in VIEWS]
    np.testing.assert_allclose(run(ConfidentViews(keep).fit(None, SIM.text), VIEWS), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("keep", [0.3, 1.0])
def test_zero_temperature_counts_votes(keep):
    head = ZeroTemperature(keep).fit(None, SIM.text)
    for views, log_share in zip(VIEWS, run(head, VIEWS)):
        logits = SCALE * views @ W.T
        voters = logits[surest(logits, keep)]
        votes = np.bincount(voters.argmax(1), minlength=4)
        np.testing.assert_allclose(log_share.exp(), (votes + softmax(voters).mean(0)) / (len(voters) + 1), rtol=1e-4)
        assert votes[int(log_share.argmax())] == votes.max()


def test_a_vote_is_the_limit_of_the_mean_at_temperature_zero():
    cold = ClassText(SIM.text.W_CD, scale=1e6)
    shares = run(ConfidentViews(1.0).fit(None, cold), VIEWS).exp()
    votes = (run(ZeroTemperature(1.0).fit(None, SIM.text), VIEWS).exp() * 11).floor() / 10
    torch.testing.assert_close(shares, votes, rtol=1e-3, atol=1e-3)


def test_one_view_is_zero_shot():
    zero_shot = ZeroShot().fit(None, SIM.text).logits(SIM.test)
    torch.testing.assert_close(run(ConfidentViews().fit(None, SIM.text), SIM.test.z), zero_shot.log_softmax(1), rtol=1e-4, atol=1e-4)
    assert torch.equal(run(ZeroTemperature().fit(None, SIM.text), SIM.test.z).argmax(1), zero_shot.argmax(1))


def test_the_most_similar_views_are_kept_and_the_first_always():
    z = torch.from_numpy(VIEWS[0])
    near = sorted(range(1, 10), key=lambda a: -float(z[a] @ z[0]))
    assert torch.equal(like_the_first(z, 0.5), z[[0, *near[:5]]])
    assert torch.equal(like_the_first(z, 1.0).sort(0).values, z.sort(0).values)
    assert torch.equal(like_the_first(z[:1], 0.5), z[:1])


def test_entropy_and_the_share_of_views():
    logits = torch.tensor([[0.0, 0.0], [5.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(entropy(logits)[0], torch.tensor(math.log(2)))
    assert confident(logits, 0.01).tolist() == [1]
    assert confident(logits, 0.67).tolist() == [1, 2]
    for wrong in (0.0, 1.1):
        with pytest.raises(ValueError, match="share of the views"):
            ZeroTemperature(wrong).fit(None, SIM.text)
        with pytest.raises(ValueError, match="similar is the share"):
            ConfidentViews(similar=wrong).fit(None, SIM.text)
    with pytest.raises(ValueError, match="at least one image"):
        DynamicCache(positive=0).fit(None, SIM.text)
    with pytest.raises(ValueError, match="at least 1"):
        PrototypeMemory(size=0).fit(None, SIM.text)
