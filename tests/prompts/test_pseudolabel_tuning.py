"""Pseudolabel rounds against a loop in numpy with a learner of our own (class means), and the limits in which they are UPL or CoOp."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.cocoop import CoCoOp
from pairwright.prompts.coop import CoOp
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.images import Images
from pairwright.prompts.pseudolabel_tuning import PseudolabelTuning, both
from pairwright.prompts.upl import UPL, top_per_class

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(4, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
ROWS = Features(unit(torch.randn(41, 16, generator=generator("pseudolabels"))), encoder=MODEL.fingerprint)
HOW = Descent(lr=0.02, epochs=2, batch=4)
PROBS = torch.rand(41, 3, generator=generator("pseudolabel probabilities")).softmax(1)


class Means:
    """A learner that classifies by class means, and remembers what it was fitted on."""

    def fit(self, model, names, train):
        self.means = torch.stack([train.z[train.y == c].mean(0) if (train.y == c).any() else torch.zeros(16) for c in range(len(names))])
        self.train = train
        return self

    def logits(self, model, names, x):
        return 5 * x.z @ self.means.T


def by_hand(strategy, k, rounds, among=(0, 1, 2), labelled=None):
    """Rows and labels of the last round, and the means, in plain numpy."""
    z, probs = ROWS.z.numpy().astype(np.float64), PROBS.numpy().astype(np.float64)
    for t in range(1, 1 + (1 if strategy == "fixed" else rounds)):
        if t > 1:
            e = np.exp(5 * z @ means.T)
            probs = e / e.sum(1, keepdims=True)
        take = int(t * len(z) / rounds / len(among)) if strategy == "grow" else k
        chosen = []
        for c in among:
            mine = [i for i in range(len(z)) if max(among, key=lambda a: probs[i, a]) == c]
            mine.sort(key=lambda i: -probs[i, c] / probs[i, list(among)].sum())
            chosen += [(i, c) for i in mine[:take]]
        chosen.sort()
        means = np.stack([np.mean([z[i] for i, c in chosen if c == d] or [0 * z[0]], axis=0) for d in range(3)])
        if labelled is not None:
            means = labelled(chosen)
    return chosen, means


@pytest.mark.parametrize("strategy", ["fixed", "refresh", "grow"])
@pytest.mark.parametrize("among", [(0, 1, 2), (2, 0)])
def test_rounds_are_the_loop(strategy, among):
    tuned = PseudolabelTuning(Means(), strategy, k=3, rounds=4).fit(MODEL, NAMES, ROWS, probs_NC=PROBS, among=among)
    chosen, means = by_hand(strategy, 3, 4, among)
    assert list(zip(tuned.rows_.tolist(), tuned.labels_.tolist())) == chosen
    np.testing.assert_allclose(tuned.learner_.means, means, atol=1e-6)
    assert len(tuned.counts_) == (1 if strategy == "fixed" else 4)
    assert not hasattr(tuned.learner, "means"), "the learner that was given stays unfitted"


def test_growing_uses_as_many_rows_as_there_are():
    tuned = PseudolabelTuning(Means(), "grow", rounds=5).fit(MODEL, NAMES, ROWS, probs_NC=PROBS)
    assert tuned.counts_[0] <= 41 // 15 * 3
    assert tuned.counts_[-1] > tuned.counts_[0]
    assert torch.bincount(tuned.labels_).max() <= 41 // 3


def test_fixed_from_zero_shot_is_upl_with_one_run():
    tuned = PseudolabelTuning(CoOp(HAND, how=HOW), "fixed", k=4, template=HAND).fit(MODEL, NAMES, ROWS)
    upl = UPL(HAND, k=4, runs=1, template=HAND, how=HOW).fit(MODEL, NAMES, ROWS)
    torch.testing.assert_close(tuned.learner_.text(MODEL, NAMES).W_CD, upl.text(MODEL, NAMES).W_CD)
    torch.testing.assert_close(tuned.logits(MODEL, NAMES, ROWS), MODEL.scale * ROWS.z @ upl.text(MODEL, NAMES).W_CD.T)


def test_no_pseudolabels_leave_zero_shot_or_the_labelled_rows():
    bare = PseudolabelTuning(CoOp(HAND, how=HOW), "fixed", k=0, template=HAND)
    hand = MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    torch.testing.assert_close(bare.fit(MODEL, NAMES, ROWS).learner_.text(MODEL, NAMES).W_CD, hand, atol=1e-6, rtol=0)
    some = Features(ROWS.z[:6], torch.arange(6) % 3, encoder=MODEL.fingerprint)
    coop = CoOp(HAND, how=HOW).fit(MODEL, NAMES, some)
    assert torch.equal(bare.fit(MODEL, NAMES, ROWS, labelled=some).learner_.context_, coop.context_)


def test_the_rarer_kind_is_repeated():
    some = Features(ROWS.z[:3], torch.arange(3), encoder=MODEL.fingerprint)
    many = Features(ROWS.z[10:21], torch.zeros(11), encoder=MODEL.fingerprint)
    for joined in (both(some, many), both(many, some)):
        assert joined.y.tolist() == [0] * 11 + [0, 1, 2] * 3
        assert torch.equal(joined.z, torch.cat([many.z, some.z, some.z, some.z]))
    assert both(None, many) is many


def test_a_learner_with_text_for_each_image_serves_too():
    tuned = PseudolabelTuning(CoCoOp(HAND, how=Descent(epochs=1, batch=8)), "refresh", k=2, rounds=2, template=HAND)
    assert tuned.fit(MODEL, NAMES, ROWS).logits(MODEL, NAMES, ROWS).shape == (41, 3)


def test_a_visual_learner_takes_images():
    model = tiny(4, image="vit", size=16, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
    x = torch.randn(14, 3, 16, 16, generator=generator("pseudolabel images"))
    some = Images(x[:3], torch.arange(3))
    learner = DeepPrefix(HAND, how=Descent(epochs=1, batch=8))
    tuned = PseudolabelTuning(learner, "fixed", k=6, template=HAND).fit(model, NAMES, Images(x[3:]), labelled=some)
    hand = model.text(model.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    rows, labels = top_per_class((model.scale * model.image(x[3:]).z_BD @ hand.T).softmax(1), 6)
    assert torch.equal(tuned.rows_, rows)
    joined = Images(
        torch.cat([x[3:][rows], x[:3].repeat(len(rows) // 3, 1, 1, 1)]), torch.cat([labels, torch.arange(3).repeat(len(rows) // 3)])
    )
    alone = DeepPrefix(HAND, how=Descent(epochs=1, batch=8)).fit(model, NAMES, joined)
    expected = model.scale * alone.image_features(model, x).z @ alone.text(model, NAMES).W_CD.T
    torch.testing.assert_close(tuned.logits(model, NAMES, Images(x)), expected, atol=1e-4, rtol=1e-4)


def test_bad_input_is_refused_with_the_fix():
    tune = PseudolabelTuning(Means())
    with pytest.raises(ValueError, match="not fitted"):
        tune.logits(MODEL, NAMES, ROWS)
    with pytest.raises(ValueError, match="choose fixed, refresh or grow"):
        PseudolabelTuning(Means(), "threshold").fit(MODEL, NAMES, ROWS)
    with pytest.raises(ValueError, match="rounds must be"):
        PseudolabelTuning(Means(), rounds=0).fit(MODEL, NAMES, ROWS)
    with pytest.raises(ValueError, match="probs_NC must have the shape"):
        tune.fit(MODEL, NAMES, ROWS, probs_NC=PROBS[:, :2])
    for among in ([], [3]):
        with pytest.raises(ValueError, match="numbers of classes"):
            tune.fit(MODEL, NAMES, ROWS, among=among)
    with pytest.raises(ValueError, match="labelled rows need labels"):
        tune.fit(MODEL, NAMES, ROWS, labelled=ROWS)
