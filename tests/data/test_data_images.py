from __future__ import annotations

import io
import os
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pairwright.data.images import BadImage, Limits, open_image, pixels

RNG = np.random.default_rng(0)


def _over(rgb, alpha, background=255):
    """Reference composition, in float."""
    a = np.asarray(alpha, float)[..., None] / 255
    return np.asarray(rgb, float) * a + background * (1 - a)


def _png(width, height, depth, colour, chunks=(), data=b"\0" * 10):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_every_mode_and_size_up_to_16(encode):
    for h in range(1, 17):
        for w in range(1, 17):
            grey, alpha = RNG.integers(0, 256, (2, h, w), np.uint8)
            rgb = RNG.integers(0, 256, (h, w, 3), np.uint8)
            deep = RNG.integers(0, 65536, (h, w)).astype(np.uint16)
            grey3 = np.repeat(grey[..., None], 3, 2)
            palette = Image.frombytes("P", (w, h), (grey // 64).tobytes())
            palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
            colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]])[grey // 64]
            clear = np.where(grey // 64 == 2, 0, 255)
            cases = {
                "1": (encode(Image.fromarray(grey > 127)), np.where(grey3 > 127, 255, 0)),
                "L": (encode(grey), grey3),
                "LA": (encode(np.dstack([grey, alpha])), _over(grey3, alpha)),
                "P": (encode(palette), colours),
                "P with alpha": (encode(palette, transparency=2), _over(colours, clear)),
                "RGB": (encode(rgb), rgb),
                "RGBA": (encode(np.dstack([rgb, alpha])), _over(rgb, alpha)),
                "I;16": (encode(deep), np.repeat(np.rint(deep / 257.0)[..., None], 3, 2)),
            }
            for name, (data, expected) in cases.items():
                got = open_image(data)
                assert got.mode == "RGB"
                assert got.size == (w, h), name
                assert np.abs(np.asarray(got, float) - expected).max() <= 1, (name, w, h)


def test_alpha_is_kept_when_asked(encode):
    rgba = RNG.integers(0, 256, (5, 6, 4), np.uint8)
    assert np.array_equal(np.asarray(open_image(encode(rgba), alpha=True)), rgba)
    assert np.asarray(open_image(encode(rgba[..., :3]), alpha=True))[..., 3].min() == 255
    over_black = np.asarray(open_image(encode(rgba), background=(0, 0, 0)), float)
    assert np.abs(over_black - _over(rgba[..., :3], rgba[..., 3], 0)).max() <= 1


def test_16_bit_grey_with_a_transparent_value():
    data = _png(2, 1, 16, 0, [(b"tRNS", struct.pack(">H", 65535))], b"\0" + struct.pack(">HH", 65535, 257 * 40))
    assert np.asarray(open_image(data, alpha=True)).tolist() == [[[255, 255, 255, 0], [40, 40, 40, 255]]]


def test_cmyk_jpeg(encode):
    red = Image.new("RGB", (16, 16), (200, 30, 60))
    got = np.asarray(open_image(encode(red.convert("CMYK"), "JPEG", quality=98)), float)
    assert np.abs(got - (200, 30, 60)).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(encode, orientation):
    picture = Image.fromarray(RNG.integers(0, 256, (6, 9, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(np.asarray(open_image(data)), np.asarray(expected))


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_first_frame_only(encode, format):
    frames = [Image.new("RGB", (8, 8), c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], **({"lossless": True} if format == "WEBP" else {}))
    assert np.asarray(open_image(data)).reshape(-1, 3).max(0).tolist() == [255, 0, 0]


def test_jpeg_is_decoded_at_the_needed_scale(encode):
    data = encode(Image.linear_gradient("L").resize((800, 640)).convert("RGB"), "JPEG", quality=95)
    assert open_image(data).size == (800, 640)
    small = open_image(data, at_least=160)
    assert small.size == (200, 160)
    exact = Image.open(io.BytesIO(data)).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(pixels(data, 64, fit="stretch").astype(int) - np.asarray(exact).astype(int)).mean() < 1.5


def test_fits(encode):
    wide = np.zeros((10, 20, 3), np.uint8)
    contained = pixels(encode(wide), 20, channels=4)
    assert contained[:, :, 3].max(1).tolist() == [0] * 5 + [255] * 10 + [0] * 5
    assert pixels(encode(wide), 20)[0, 0].tolist() == [255, 255, 255]
    halves = np.concatenate([np.zeros((8, 4, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8), np.zeros((8, 4, 3), np.uint8)], 1)
    assert pixels(encode(halves), 8, fit="cover").min() == 255  # the middle square is white
    assert pixels(encode(halves), 8, fit="stretch")[:, 0].max() < 30


def test_arrays_and_pictures():
    rgb = RNG.integers(0, 256, (4, 5, 3), np.uint8)
    for same in (rgb, Image.fromarray(rgb), rgb / 255.0):
        assert np.array_equal(np.asarray(open_image(same)), rgb)
    assert np.asarray(open_image(np.array([[0, 65535]], np.uint16)))[0, 1].tolist() == [255] * 3
    assert np.asarray(open_image(np.array([[True, False]])))[0, 0].tolist() == [255] * 3
    for wrong in (
        np.zeros((3, 8, 8), np.uint8),
        np.full((4, 4), 2.0),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 4), np.int64),
        np.full((2, 2), np.nan),
    ):
        with pytest.raises(BadImage):
            open_image(wrong)


def test_refusals_say_what_to_do(tmp_path, encode):
    (tmp_path / "notes.png").write_text("just words")
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    tiff = encode(np.zeros((4, 4, 3), np.uint8), "TIFF")
    cases = {
        tmp_path / "notes.png": "allowed format",
        tmp_path / "empty.png": "0 bytes",
        tmp_path / "pipe.png": "regular file",
        tmp_path: "regular file",
        tiff: "allowed format",
        b"\x89PNG\r\n\x1a\n": "allowed format",
        b"RIFF\x10\0\0\0WEBPVP8X": "ends too early",
    }
    for source, words in cases.items():
        with pytest.raises(BadImage, match=words):
            open_image(source)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_image(tmp_path / "not" / "there.png")
    with pytest.raises(BadImage):
        open_image("a\0b.png")
    assert open_image(tiff, formats=("TIFF",)).size == (4, 4)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_truncated_files(encode, format):
    """Cut anywhere: refused, or (a cut behind the last pixel) the very same picture."""
    data = encode(RNG.integers(0, 256, (24, 24, 3), np.uint8), format)
    whole = np.asarray(open_image(data))
    accepted = []
    for cut in range(0, len(data), max(1, len(data) // 60)):
        try:
            assert np.array_equal(np.asarray(open_image(data[:cut])), whole)
            accepted.append(cut / len(data))
        except BadImage:
            pass
    assert all(share > 0.97 for share in accepted)


def _many_scans(encode) -> bytes:
    data = encode(RNG.integers(0, 256, (64, 64, 3), np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1000 + data[-2:]


BOMBS = {
    "png 50,000 x 50,000": (lambda e: _png(50_000, 50_000, 8, 2), "pixels"),
    "png 8,000 x 8,000": (lambda e: _png(8_000, 8_000, 8, 2), "50,000,000 pixels"),
    "long strip": (lambda e: _png(10_001, 1, 8, 2), "side"),
    "no pixels": (lambda e: _png(0, 4, 8, 2), "."),
    "text bomb": (lambda e: _png(4, 4, 8, 2, [(b"zTXt", b"k\0\0" + zlib.compress(b"0" * 10_000_000))], b"\0" * 52), "."),
    "profile bomb": (lambda e: _png(4, 4, 8, 2, [(b"iCCP", b"k\0\0" + zlib.compress(b"0" * 10_000_000))], b"\0" * 52), "."),
    "long text": (lambda e: _png(4, 4, 8, 2, [(b"tEXt", b"k\0" + b"x" * 2_000_000)], b"\0" * 52), "."),
    "webp canvas": (lambda e: b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + (16382).to_bytes(3, "little") * 2 + b"\0" * 8, "side"),
    "1,000 scans": (_many_scans, "scans"),
    "gif frame larger than its screen": (
        lambda e: b"GIF89a\1\0\1\0\x80\0\0" + b"\0" * 6 + b",\0\0\0\0\xff\xff\xff\xff\0\2\2\x44\1\0;",
        ".",
    ),
    "26 MB": (lambda e: b"\xff\xd8" + b"\0" * 26_000_000, "25,000,000"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_nothing(encode, name):
    make, words = BOMBS[name]
    data = make(encode)
    start = time.perf_counter()
    with pytest.raises(BadImage, match=words):
        open_image(data)
    assert time.perf_counter() - start < 1.0


def test_limits_can_be_raised(encode):
    strip = encode(np.zeros((1, 10_001), np.uint8))
    assert open_image(strip, limits=Limits(side=20_000)).size == (10_001, 1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_mutated_files_give_a_picture_or_a_clear_error(encode, format):
    seed = encode(RNG.integers(0, 256, (12, 12, 3), np.uint8), format)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, len(seed) - 1), st.integers(0, 255)), min_size=1, max_size=8))
    def check(edits):
        data = bytearray(seed)
        for place, value in edits:
            data[place] = value
        try:
            got = pixels(bytes(data), 16)
        except BadImage:
            return
        assert got.shape == (16, 16, 3)
        assert got.dtype == np.uint8

    check()
