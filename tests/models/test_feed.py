"""Batches of decoded pictures: order, bad ones, JPEGs decoded at the needed scale, at most a batch ahead, threads that stop."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from pairwright.models import feed
from pairwright.models.feed import batches
from pairwright.models.preprocess import Preprocess

PREPROCESS = Preprocess(32)


def picture(i: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8))


def photo(side: int) -> bytes:
    """A smooth JPEG with a little grain, as photographs are."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
    grain = np.asarray(smooth) + rng.normal(0, 4, (side, side * 4 // 3, 3))
    buffer = io.BytesIO()
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_normalised_batches_are_what_the_preprocessing_gives_one_by_one() -> None:
    sources = [(str(i), picture(i)) for i in range(5)]
    made = list(batches(sources, PREPROCESS, 2))
    assert [b.names for b in made] == [("0", "1"), ("2", "3"), ("4",)]
    assert made[0].x.dtype == torch.uint8
    x = torch.cat([PREPROCESS.normalise(b.x) for b in made])
    assert torch.equal(x, torch.stack([PREPROCESS(picture(i)) for i in range(5)]))
    plain = list(batches(sources, lambda image: PREPROCESS(image), 2))  # any function will do
    assert torch.equal(torch.cat([b.x for b in plain]), x)


@pytest.mark.parametrize("preprocess", [PREPROCESS, lambda image: PREPROCESS(image)])
def test_bad_pictures_leave_no_gap(preprocess) -> None:
    sources = [("a", b"no picture"), ("b", picture(1)), ("c", "/nowhere.png"), ("d", picture(3)), ("e", b"")]
    first, last = batches(sources, preprocess, 4)
    assert first.names == ("b", "d")
    assert [name for name, _ in first.bad] == ["a", "c"]
    assert len(first) == 4
    x = first.x if preprocess is not PREPROCESS else PREPROCESS.normalise(first.x)
    assert torch.equal(x[1], PREPROCESS(picture(3)))
    assert (last.names, len(last.x), len(last)) == ((), 0 if preprocess is not PREPROCESS else len(last.x), 1)


def test_jpegs_are_decoded_at_the_needed_scale_and_look_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = feed.open_image
    monkeypatch.setattr(feed, "open_image", lambda *a, **k: (seen.append(real(*a, **k)), seen[-1])[1])
    data = photo(480)
    (batch,) = batches([("x", data)], PREPROCESS, 1)
    assert seen[0].size == (160, 120)  # a quarter, the last that leaves twice 32
    whole = np.asarray(PREPROCESS.pixels(Image.open(io.BytesIO(data))), np.float32)
    assert np.abs(batch.x[0].numpy() - whole).mean() < 1.5
    x, y = PREPROCESS.normalise(batch.x), PREPROCESS.normalise(torch.from_numpy(whole.astype(np.uint8))[None])
    assert torch.cosine_similarity(x.flatten(1), y.flatten(1)).item() > 0.999


def test_opaque_pictures_are_not_given_an_alpha_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))

    def look(image: Image.Image) -> torch.Tensor:
        modes.append(image.mode)
        return torch.zeros(1)

    list(batches([("a", picture(0)), ("b", clear)], look, 1))
    assert sorted(modes) == ["RGB", "RGBA"]


def test_at_most_a_batch_is_decoded_ahead_and_nothing_goes_on_behind_a_closed_feed() -> None:
    read = []
    sources = [(str(i), picture(i)) for i in range(40)]
    made = batches(sources, lambda image: (read.append(1), torch.zeros(1))[1], 4)
    next(made)
    made.close()
    assert len(read) <= 2 * 4
    assert not [t for t in threading.enumerate() if t.name.startswith("pictures")]
