"""Switches: absent at 0 bit for bit, as strong as asked, and each minds its own business."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.data.world import switch as switching
from pairwright.data.world.engine import World
from pairwright.data.world.grammar import holds
from pairwright.data.world.switches.duplicates import Duplicates
from pairwright.data.world.switches.spurious import Spurious
from pairwright.data.world.switches.style import Style
from pairwright.data.world.vocabulary import STYLES

BASE = {"size": 32, "shapes": 10, "colours": 10, "background": 1.0}
WORDS_ONLY = {"shuffled", "grain", "long_text", "translated"}
SAME_FACTS = WORDS_ONLY | {"illumination"}


def base_for(name: str) -> World:
    return World(0, **{k: v for k, v in BASE.items() if k != name})


def equal_facts(a, b) -> bool:
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in vars(a))


@pytest.mark.parametrize("name", switching.available())
def test_strength_zero_is_exact_absence(name):
    plain, off, on = base_for(name).sample(40), base_for(name).but(**{name: 0}).sample(40), base_for(name).but(**{name: 1.0}).sample(40)
    assert torch.equal(plain.images, off.images)
    assert plain.captions == off.captions
    assert equal_facts(plain.facts, off.facts)
    assert off.marks == {} or name not in off.world.switches
    changed = (not torch.equal(on.images, off.images), on.captions != off.captions)
    assert any(changed), "a switch at full strength must do something"
    assert changed[0] == (name not in WORDS_ONLY)
    assert equal_facts(on.facts, off.facts) == (name in SAME_FACTS)


@pytest.mark.parametrize("name", switching.available())
def test_switch_is_documented_and_refuses_silly_strengths(name):
    assert len(switching.kind(name).__doc__) > 80
    with pytest.raises(ValueError, match=name):
        World(0, **{name: -0.1})


def test_switches_do_not_disturb_each_other():
    """Words do not depend on pixels, nor pixels on words, and the spurious cue changes nothing but the cue."""
    world = World(0, **BASE)
    assert world.but(style=1, illumination=1).sample(30).captions == world.sample(30).captions
    cued = world.but(spurious=0.9).sample(60).facts
    free = world.sample(60).facts
    for k in vars(free):
        assert np.array_equal(getattr(free, k), getattr(cued, k)) == (k != "background_N")


@pytest.mark.parametrize("attribute", ["background", "colour"])
@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_planted_correlation_is_the_requested_one(attribute, strength):
    world = World(1, **BASE, spurious=Spurious(strength, attribute=attribute))
    f = world.sample(4000).facts
    cue = f.background_N if attribute == "background" else f.colour_NO[:, 0]
    assert np.mean(cue == f.shape_NO[:, 0] % 10) == pytest.approx(strength + (1 - strength) / 10, abs=0.025)
    assert (f.colour_NO[:, 0] != f.colour_NO[:, 1]).all()
    np.testing.assert_allclose(np.bincount(f.shape_NO[:, 0]) / 4000, 0.1, atol=0.02)  # the classes stay balanced


def test_long_tail_follows_its_law():
    f = World(2, **BASE, long_tail=0.5).sample(8000).facts
    law = np.arange(1, 11) ** -1.0
    np.testing.assert_allclose(np.bincount(f.shape_NO[:, 0], minlength=10) / 8000, law / law.sum(), atol=0.02)


def test_label_shift_keeps_the_look_of_a_class():
    world = World(3, **BASE, objects=1)
    a, b = world.sample(4000).facts, world.but(label_shift=1).sample(4000).facts
    pa, pb = (np.bincount(f.shape_NO[:, 0], minlength=10) / 4000 for f in (a, b))
    assert abs(pa - 0.1).max() < 0.02
    assert pb.max() / max(pb.min(), 1e-3) > 5
    same = a.shape_NO[:, 0] == b.shape_NO[:, 0]
    assert torch.equal(world.sample(200).images[same[:200]], world.but(label_shift=1).sample(200).images[same[:200]])


def test_shuffled_captions_describe_their_partner():
    world = World(4, **BASE, shuffled=0.4)
    batch, clean = world.sample(1000), world.but(shuffled=0).sample(1000)
    hit = ~batch.marks["clean_N"]
    assert hit.mean() == pytest.approx(0.4, abs=0.04)
    assert torch.equal(batch.images, clean.images)
    for i in range(0, 1000, 20):
        partner = clean.world.at([batch.partner_N[i]]).facts
        assert holds(world.lexicon.parse(batch.caption[i]), partner, 0)
        assert (batch.partner_N[i] != i) == hit[i]


def test_duplicates_point_to_the_original_and_look_like_it():
    world = World(5, **BASE, duplicates=Duplicates(0.5, window=50))
    batch = world.sample(600)
    f, copy = batch.facts, batch.marks["copy_N"]
    assert copy.mean() == pytest.approx(0.5, abs=0.06)
    np.testing.assert_array_equal(copy, f.source_N != f.ids_N)
    originals = world.but(duplicates=0).at(f.source_N)
    assert torch.equal(batch.images, originals.images)
    assert torch.equal(batch.groups, originals.groups)
    assert not np.isin(f.source_N, np.flatnonzero(copy)).any()  # never a copy of a copy
    near = world.but(duplicates=Duplicates(0.5, jitter=1.0, window=50)).sample(600)
    moved = abs(near.facts.centre_NO2 - f.centre_NO2).max((1, 2))
    assert (moved[~copy] == 0).all()
    assert (moved[copy] > 0).all()
    assert moved.max() <= 0.1


def test_style_sequence_and_looks():
    batch = World(6, **BASE, style=Style(1.0, kinds=("natural", "dusk", "blurred"), period=5)).sample(20)
    assert [STYLES[k] for k in batch.facts.style_N[::5]] == ["natural", "dusk", "blurred", "natural"]
    plain = World(6, **BASE).sample(20)
    assert torch.equal(batch.images[:5], plain.images[:5])
    assert torch.equal(batch.images[15:], plain.images[15:])
    x = plain.images[5:10].float() / 255
    dusk = (x * torch.tensor([0.36, 0.40, 0.62]).view(3, 1, 1) * 255).round()
    assert (batch.images[5:10].float() - dusk).abs().max() <= 1
    mean3 = lambda v: torch.nn.functional.avg_pool2d(torch.nn.functional.pad(v, (1,) * 4, mode="replicate"), 3, 1)
    slow = mean3(mean3(plain.images[10:15].float()))  # at 32 pixels a window of 3, twice
    assert (batch.images[10:15].float() - slow).abs().max() <= 1
    assert len(set(World(6, **BASE, style=1).sample(200).facts.style_N)) == len(STYLES)


def test_style_half_way_is_the_mean_of_off_and_on():
    off, half, on = (World(7, **BASE, style=Style(s, kinds=("pastel", "dusk", "blocky"))).sample(30).images.float() for s in (1e-9, 0.5, 1))
    assert ((off + on) / 2 - half).abs().max() <= 1.01


def test_salience_and_viewpoint_by_the_book():
    world = World(8, **BASE)
    even, skew = world.sample(200), world.but(salience=1).sample(200)
    assert skew.salience_NO[:, 0].mean() > 0.9 > even.salience_NO[:, 0].mean()
    np.testing.assert_allclose(skew.salience_NO.sum(1), 1)
    a, b = world.sample(50).facts, world.but(viewpoint=1).sample(50).facts
    zoom = b.radius_NO / a.radius_NO
    turn = b.angle_NO - a.angle_NO
    for i in range(50):  # a similarity: one turn, one zoom for the whole scene, checked with complex numbers
        before, after = ((f.centre_NO2[i] - 0.5) @ [1, 1j] for f in (a, b))
        np.testing.assert_allclose(after, before * zoom[i] * np.exp(1j * turn[i]))
        assert 0.6 <= zoom[i, 0] <= 1
        assert abs(np.degrees(turn[i, 0])) <= 35


def test_translated_share_and_reading_back():
    world = World(9, **BASE, translated=0.5)
    batch, english = world.sample(400), world.but(translated=0).sample(400)
    which = batch.marks["language_NK"][:, 0]
    assert np.mean(which > 0) == pytest.approx(0.5, abs=0.07)
    assert set(which) == {0, 1, 2}
    for c, e, k in zip(batch.caption, english.caption, which):
        assert (world.switches["translated"].tongues[k - 1].back(c) if k else c) == e


def test_grain_leaves_one_fact():
    batch = World(10, **BASE, grain=0.5).sample(400)
    one = batch.plan.one_fact_NK[:, 0]
    assert one.mean() == pytest.approx(0.5, abs=0.07)
    for s, single in zip(batch.statements(), one):
        facts = sum(v >= 0 for p in s.phrases for v in vars(p).values()) + (s.relation >= 0)
        assert facts == (1 if single else 5)


def test_a_switch_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="Style"):
        World(0, style=Spurious(1.0))
