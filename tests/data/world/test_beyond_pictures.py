"""Videos, tones, vector scenes, cached fixtures and the pages: the world beyond single pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.data.world import fixtures
from pairwright.data.world.caption import hard_statement
from pairwright.data.world.engine import World
from pairwright.data.world.tones import tones
from pairwright.data.world.vectors import image_vectors, pretrained, text_vectors, vector_scenes
from pairwright.data.world.video import film
from pairwright.data.world.vocabulary import EVENTS

WORLD = World(0, size=32, shapes=10, colours=10)


def test_events_happen_when_they_should():
    made = film(WORLD, 120, frames=12)
    f = made.frame_facts
    centre, present = f.centre_NO2.reshape(120, 12, 2, 2), f.present_NO.reshape(120, 12, 2)
    seen = set()
    for i in range(120):
        assert made.stop_NE[i, 0] <= made.start_NE[i, 1]  # one is over before the other begins
        for e in range(2):
            name, o, start, stop = EVENTS[made.kind_NE[i, e]], made.object_NE[i, e], made.start_NE[i, e], made.stop_NE[i, e]
            seen.add(name)
            path = centre[i, :, o]
            if name == "appears":
                assert not present[i, :start, o].any()
                assert present[i, start:, o].all()
            elif name == "disappears":
                assert present[i, :stop, o].all()
                assert not present[i, stop:, o].any()
            elif name.startswith("moves"):
                step = {"left": [-1, 0], "right": [1, 0], "up": [0, -1], "down": [0, 1]}[name.split()[1]]
                along, across = path @ step, path @ step[::-1]
                if not (made.kind_NE[i] == len(EVENTS) - 1).any():
                    assert np.ptp(along[:start]) < 1e-9
                    assert np.ptp(along[stop - 1 :]) < 1e-9
                    assert np.ptp(across) < 1e-9
                    assert along[stop - 1] - along[0] > 0.05
            elif made.kind_NE[i, 1 - e] not in range(2, 6):  # collides while the other event moves nothing away
                gap = np.linalg.norm(centre[i, :, 0] - centre[i, :, 1], axis=1)
                touch = 0.75 * f.radius_NO.reshape(120, 12, 2)[i, 0].sum()
                assert gap[(start + stop) // 2] == pytest.approx(touch)
                assert gap[start - 1] > touch + 0.01
    assert seen == set(EVENTS)


def test_frames_outside_events_stand_still_and_ranges_split():
    made = film(WORLD, 30, frames=10)
    for i in range(30):
        stop = int(made.stop_NE[i].max())
        assert (made.images[i, stop:] == made.images[i, stop]).all() or stop == 10
    assert torch.equal(film(WORLD, 10, start=20, frames=10).images, made.images[20:])
    assert film(WORLD, 10, start=20, frames=10).captions() == made.captions()[20:]
    still = film(WORLD, 4, frames=4, events=0)
    assert torch.equal(still.images, WORLD.sample(4).images[:, None].expand_as(still.images))


def test_swapped_order_tells_the_same_events():
    made = film(WORLD, 20)
    for a, b in zip(made.captions(), made.captions("swapped")):
        assert a.split(" then ") == b.split(" then ")[::-1]
    with pytest.raises(ValueError, match="frames"):
        film(WORLD, 2, frames=3)


def test_the_loudest_frequency_is_the_shape():
    world = World(1, objects=1, shapes=24, colours=2)
    f = world.sample(40).facts
    wave = tones(f, seconds=0.5).numpy()
    peak = np.abs(np.fft.rfft(wave)).argmax(1) / 0.5
    np.testing.assert_allclose(peak, 220 * 2 ** (f.shape_NO[:, 0] / 6), atol=2.1)
    pair = World(1, objects=2).sample(5).facts
    assert torch.allclose(tones(pair, noise=0.1)[3:], tones(World(1, objects=2).sample(2, 3).facts, noise=0.1))


def test_vector_scenes_by_a_slow_sum():
    """One object at a time, from the tables: additive, so the picture of two objects is the sum of its parts plus the relation."""
    from pairwright.data.world.vectors import _table

    batch = World(2, shapes=5, colours=5).sample(20)
    x = image_vectors(batch, binding=0.0, noise=0.0)
    f = batch.facts
    for i in range(20):
        total = _table("image", "axis", 2, 96)[f.relation_N[i] // 2].copy()
        for o in range(2):
            for what, rows in (("shape", 24), ("colour", 24), ("texture", 6), ("size", 3), ("count", 4)):
                total += _table("image", what, rows, 96)[getattr(f, f"{what}_NO")[i, o]]
        np.testing.assert_allclose(x[i].numpy(), total, atol=1e-5)


def test_binding_decides_whether_a_swap_can_be_seen():
    batch = World(3, shapes=20, colours=20).sample(30)
    said = batch.statements()
    swapped = [hard_statement(s, batch.facts, i, "swap", np.zeros(4), batch.world.used) for i, s in enumerate(said)]
    flipped = [s.flipped() for s in said]
    torch.testing.assert_close(text_vectors(said, binding=0.0), text_vectors(swapped, binding=0.0))
    assert ((text_vectors(said) - text_vectors(swapped)).norm(dim=1) > 0.1).all()
    torch.testing.assert_close(text_vectors(said), text_vectors(flipped))  # the same claim in the other order


def test_pretrained_vector_encoder_retrieves_and_is_cached(tmp_path, monkeypatch):
    world = World(4, shapes=20, colours=20)
    model = pretrained(world, steps=50, batch=128, folder=tmp_path)
    test = vector_scenes(world, 300, 50_000)
    found = (model.image(test.image_NW) @ model.text(test.text_NW).T).argmax(1) == torch.arange(300)
    assert found.float().mean() > 0.3  # chance: 1 in 300
    monkeypatch.setattr(torch.optim, "AdamW", None)  # a second call must not train
    again = pretrained(world, steps=50, batch=128, folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))


def test_cache_keys_follow_spec_and_code_and_survive_damage(tmp_path):
    source = tmp_path / "code.py"
    source.write_text("one")
    built = []

    def build():
        built.append(1)
        return {"w": torch.full((2,), float(len(built)))}

    get = lambda spec: float(fixtures.cached("t", spec, build, files=[source], folder=tmp_path / "cache")["w"][0])
    assert [get({"a": 1}), get({"a": 1}), get({"a": 2}), get({"a": 1})] == [1, 1, 2, 1]
    source.write_text("two")
    assert get({"a": 1}) == 3
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"damaged")
    assert get({"a": 1}) == 4
    assert get({"a": 1}) == 4


def test_world_files_hold_every_switch_and_the_engine():
    names = {p.name for p in fixtures.world_files()}
    assert {"engine.py", "render.py", "spurious.py"} <= names
    assert all(p.is_file() for p in fixtures.world_files())


def test_gallery_draws_a_page_with_every_switch(tmp_path):
    from pairwright.data.world import gallery

    gallery.write(tmp_path)
    page = (tmp_path / "index.md").read_text()
    for name in World.switches_available():
        assert f"## {name}\n" in page
        assert 500 < (tmp_path / f"{name}.webp").stat().st_size < 30_000
