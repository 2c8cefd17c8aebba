from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from pairwright.data.packs.render import Picture, draw, draw_all

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def rect(size: str, body: str = '<rect x="2" y="2" width="6" height="6" fill="#ff0000"/>') -> bytes:
    return f"{HEAD}{size}>{body}</svg>".encode()


@pytest.mark.parametrize(
    ("size", "expected"),
    [('width="10" height="10"', (128, 128)), ('width="20" height="10"', (128, 64)), ('width="10" height="40"', (32, 128)),
     ('width="10pt" height="10pt"', (128, 128)), ('viewBox="0 0 10 20"', (64, 128))],
)  # fmt: skip
def test_the_longer_side_is_128_and_the_aspect_is_kept(size, expected):
    assert opened(draw(rect(size)).png).size == expected


def test_pixels_are_the_drawing_and_the_rest_is_transparent():
    a = np.asarray(opened(draw(rect('width="10" height="10"')).png))
    inside = np.zeros((128, 128), bool)
    inside[27:102, 27:102] = True  # 2/10 .. 8/10 of 128, without the blended edge
    assert (a[inside] == [255, 0, 0, 255]).all()
    outside = np.ones((128, 128), bool)
    outside[25:103, 25:103] = False
    assert (a[outside, 3] == 0).all()


def test_an_opaque_picture_is_rgb_and_a_grey_png_keeps_its_pixels():
    grey = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "PNG")
    got = opened(draw(out.getvalue()).png)
    assert got.mode == "RGB"
    assert (np.asarray(got) == grey[..., None]).all()


def test_trim_cuts_the_margins_and_draws_again_so_that_edges_stay_sharp():
    small = rect('width="100" height="100"', '<rect x="40" y="45" width="20" height="10" fill="blue"/>')
    a = np.asarray(opened(draw(small, trim=True).png).convert("RGBA"))
    assert 120 <= max(a.shape) <= 128  # the box is measured on the first drawing, to a pixel
    assert a.shape[1] / a.shape[0] == pytest.approx(2, abs=0.05)
    assert (a[2:-2, 2:-2] == [0, 0, 255, 255]).all()  # a magnified small drawing would be blurred at its edges
    assert opened(draw(small).png).size == (128, 128)


def test_references_to_outside_files_are_cut(tmp_path):
    Image.new("RGB", (4, 4), "lime").save(tmp_path / "x.png")
    body = f'<rect width="5" height="5" fill="red"/><image xlink:href="{tmp_path}/x.png" x="5" y="5" width="5" height="5"/>'
    a = np.asarray(opened(draw(rect('width="10" height="10"', body)).png))
    assert not ((a[..., 1] > 128) & (a[..., 3] > 0)).any()


@pytest.mark.parametrize("data", [b"<svg", b"hello", b"", b"\x89PNG\r\n\x1a\nrubbish"])
def test_what_cannot_be_drawn_is_an_error(data):
    with pytest.raises((ValueError, OSError)):
        draw(data)


def test_a_blank_picture_is_an_error():
    with pytest.raises(ValueError, match="blank"):
        draw(rect('width="10" height="10"', ""))


def test_workers_answer_in_order_and_name_faults():
    good = [rect(f'width="{w}" height="10"') for w in (10, 20, 40)]
    pictures = list(draw_all([(good[0], False), (b"rubbish", False), (good[1], False), (good[2], True)]))
    assert [bool(p.fault) for p in pictures] == [False, True, False, False]
    assert pictures[0] == draw(good[0])
    assert pictures[2] == draw(good[1])
    assert pictures[3] == draw(good[2], trim=True)


def test_a_hanging_or_crashing_renderer_costs_one_picture(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import struct, sys, time\n"
        "i, o = sys.stdin.buffer, sys.stdout.buffer\n"
        "while (head := i.read(4)):\n"
        "    data = i.read(struct.unpack('>I', head)[0])[1:]\n"
        "    if data == b'hang': time.sleep(60)\n"
        "    if data == b'crash': sys.exit(3)\n"
        "    o.write(struct.pack('>BQI', 0, 7, len(data)) + data); o.flush()\n"
    )
    jobs = [(x, False) for x in (b"a", b"hang", b"b", b"crash", b"c")]
    got = list(draw_all(jobs, processes=1, seconds=1.0, program=[sys.executable, str(worker)]))
    assert got[0] == Picture(b"a", 7)
    assert got[1].fault == "drawing took more than 1 s"
    assert got[2] == Picture(b"b", 7)
    assert got[3].fault == "the renderer crashed"
    assert got[4] == Picture(b"c", 7)
