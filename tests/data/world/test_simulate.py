"""The feature twin: each factor is planted where it says, absent at strength 0, and leaves the draws of the others alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.data.world.pairs import Maps, simulate_pairs
from pairwright.data.world.simulate import simulate

FACTORS = {
    "text_noise": 0.5,
    "prompt_noise": 0.3,
    "uneven": 1.0,
    "template": 1.0,
    "nuisance": 1.0,
    "modes": 0.6,
    "background": 1.0,
    "style": 1.0,
    "gap": 1.0,
    "offset": 1.0,
    "rotation": 0.5,
    "hubs": 1.0,
    "duplicates": 0.5,
    "label_noise": 0.3,
    "imbalance": 0.9,
    "label_shift": 1.0,
}
TEXT_ONLY = {"text_noise", "prompt_noise", "uneven", "template", "rotation", "hubs"}


def accuracy(logits, y):
    return float((logits.argmax(1) == y).float().mean())


def test_rows_are_unit_and_sizes_as_asked():
    s = simulate(0, classes=7, shots=3, test_per_class=5, pool_per_class=2, width=32)
    for part, n in ((s.train, 21), (s.test, 35), (s.pool, 14), (s.val, 28)):
        assert part.z.shape == (n, 32)
        torch.testing.assert_close(part.z.norm(dim=1), torch.ones(n))
    torch.testing.assert_close(s.text.prompts_CPD.norm(dim=2), torch.ones(7, 4))
    assert s.pool.y is None
    assert s.train.y.bincount().tolist() == [3] * 7


def test_same_seed_same_arrays_and_other_seed_others():
    a, b, c = simulate(3), simulate(3), simulate(4)
    assert torch.equal(a.test.z, b.test.z)
    assert torch.equal(a.text.W_CD, b.text.W_CD)
    assert not torch.equal(a.test.z, c.test.z)


def test_fewer_shots_are_the_first_rows_of_more_shots():
    few, many = simulate(1, shots=2), simulate(1, shots=8)
    assert torch.equal(few.train.z, many.train.z[: len(few.train)])
    assert torch.equal(few.test.z, many.test.z)


def test_defaults_are_a_sensible_problem():
    from sklearn.linear_model import LogisticRegression

    zero, lin = [], []
    for seed in range(3):
        s = simulate(seed)
        zero.append(accuracy(s.test.z @ s.text.W_CD.T, s.test.y))
        lin.append(LogisticRegression(C=10, max_iter=200).fit(s.train.z, s.train.y).score(s.test.z, s.test.y))
    assert 0.5 < np.mean(zero) < 0.7
    assert 0.75 < np.mean(lin) < 0.9


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_changes_only_its_side(name):
    """Text factors leave every image row bit-identical; image factors leave the text so."""
    base, planted = simulate(2), simulate(2, **{name: FACTORS[name]})
    same_text = torch.equal(base.text.prompts_CPD, planted.text.prompts_CPD)
    same_image = all(
        len(a) == len(b) and torch.equal(a.z, b.z) and (a.y is None or torch.equal(a.y, b.y))
        for a, b in ((base.train, planted.train), (base.test, planted.test), (base.pool, planted.pool))
    )
    if name in ("gap", "offset", "nuisance"):  # concern both
        assert not same_text
        assert not same_image
    else:
        assert (same_image, same_text) == ((True, False) if name in TEXT_ONLY else (False, True))


def test_spurious_correlation_is_the_requested_one_and_gone_in_the_test():
    s = simulate(0, shots=200, test_per_class=200, background=1.0, spurious=0.7)
    hit = lambda part: np.mean(s.truth[part]["background"] == s.truth[part]["y"])
    assert hit("train") == pytest.approx(0.7 + 0.3 / 20, abs=0.02)
    assert hit("test") == pytest.approx(1 / 20, abs=0.02)


def test_label_noise_and_imbalance_and_shift_rates():
    s = simulate(0, shots=200, label_noise=0.3)
    wrong = s.train.y.numpy() != s.truth["train"]["y"]
    assert wrong.mean() == pytest.approx(0.3, abs=0.02)
    counts = simulate(0, shots=100, imbalance=0.99).train.y.bincount()
    assert counts.max() == 100
    assert counts.min() == 1
    shifted = simulate(0, test_per_class=500, label_shift=1.0)
    np.testing.assert_allclose(np.bincount(shifted.test.y, minlength=20) / 10_000, shifted.prior_C, atol=0.02)


def test_duplicates_share_group_and_nearly_the_vector():
    s = simulate(0, shots=20, duplicates=0.5)
    group = s.truth["train"]["group"]
    assert 1 - len(set(group)) / len(group) == pytest.approx(0.5, abs=0.06)
    z = s.train.z
    for i in range(0, len(group), 37):
        others = [j for j in range(len(group)) if j != i and group[j] == group[i]]
        assert all(z[i] @ z[j] > 0.99 and s.train.y[i] == s.train.y[j] for j in others)


def test_rotation_is_orthogonal_and_undone_by_procrustes():
    base, turned = simulate(0), simulate(0, rotation=1.0)
    a, b = base.text.prompts_CPD.flatten(0, 1).double(), turned.text.prompts_CPD.flatten(0, 1).double()
    torch.testing.assert_close(a @ a.T, b @ b.T, atol=1e-5, rtol=0)  # all angles among texts kept
    u, _, vh = torch.linalg.svd(b.T @ a)
    torch.testing.assert_close(b @ (u @ vh), a, atol=1e-5, rtol=0)


def test_modes_hide_signal_from_linear_heads_only():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    s = simulate(0, modes=1.0, within=0.7, shots=32)
    linear = LogisticRegression(C=10, max_iter=200).fit(s.train.z, s.train.y).score(s.test.z, s.test.y)
    near = KNeighborsClassifier(5).fit(s.train.z, s.train.y).score(s.test.z, s.test.y)
    assert linear < 0.3
    assert near > 0.9


def test_averaging_prompts_removes_prompt_noise():
    s = simulate(0, prompt_noise=2.0, text_noise=0.0, prompts=32)
    truth = s.means_CD
    one = (torch.nn.functional.normalize(s.text.prompts_CPD[:, 0], dim=1) * truth).sum(1).mean()
    assert (s.text.W_CD * truth).sum(1).mean() > one + 0.3


def test_bad_requests_are_told_what_to_do():
    with pytest.raises(ValueError, match="background"):
        simulate(0, spurious=0.5)
    with pytest.raises(ValueError, match="rotation"):
        simulate(0, rotation=2.0)
    with pytest.raises(ValueError, match="classes"):
        simulate(0, classes=1)


def test_pairs_faults_have_their_rates_and_truth():
    p = simulate_pairs(0, 2000, shuffled=0.3, duplicates=0.25)
    assert 1 - len(p.group_N.unique()) / 2000 == pytest.approx(0.25, abs=0.03)
    assert int((~p.clean_N).sum()) == 600
    assert torch.equal(p.positives(slice(0, 50)), torch.tensor([[int(a) == int(b) for b in p.text_group_N[:50]] for a in p.group_N[:50]]))
    clean = simulate_pairs(0, 2000)
    assert clean.clean_N.all()
    assert len(clean.group_N.unique()) == 2000
    assert torch.equal(clean.image_ND[:1], p.image_ND[:1])  # the first row is never a copy: faults leave the draws alone


def test_pairs_same_text_repeats_the_vector():
    p = simulate_pairs(0, 300, duplicates=0.5, same_text=True)
    for g in p.text_group_N.unique()[:30]:
        rows = p.text_ND[p.text_group_N == g]
        assert torch.equal(rows, rows[:1].expand_as(rows))


def test_linear_maps_solve_clean_pairs_in_closed_form():
    """The best linear map (least squares on train) ranks the true text of new pairs first: the splits share their mixing maps."""
    train, test = simulate_pairs(0, 1500), simulate_pairs(0, 300, split="test")
    m = torch.linalg.lstsq(train.image_ND, train.text_ND, driver="gelsd").solution
    scores = torch.nn.functional.normalize(test.image_ND @ m, dim=1) @ torch.nn.functional.normalize(test.text_ND, dim=1).T
    assert accuracy(scores, torch.arange(300)) > 0.95
    a, b = Maps(train)(test.image_ND, test.text_ND)
    assert a.shape == b.shape == (300, 16)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(300))


def test_closeness_is_the_cosine_of_cluster_mates():
    p = simulate_pairs(0, 2000, closeness=0.8, latent=64, width=96)
    u, c = p.concept_GU, p.cluster_N
    mates = (u[:-1] * u[1:]).sum(1)[c[:-1] == c[1:]]
    assert float(mates.mean()) == pytest.approx(0.8, abs=0.04)
