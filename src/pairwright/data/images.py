"""Open an image from outside safely: allowed formats only, limits checked from the header, every mode, EXIF rotation, clear errors.

This is the one place in the project that hands foreign bytes to a decoder. The allow-list is the main defence: none of the known
decoder bombs of the last years is in JPEG, PNG, WebP, GIF or BMP, and other formats are opened only when they are named.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pairwright.data.listing import Listing, find_images
from pairwright.data.modes import WHITE, BadImage, flatten, from_array, to_rgb

__all__ = ["FORMATS", "WHITE", "BadImage", "Limits", "Listing", "find_images", "open_image", "pixels", "read_file"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Limits:
    """What an image from outside may cost. Each is checked before pixels are decoded."""

    file_bytes: int = 25_000_000
    pixels: int = 50_000_000
    side: int = 10_000
    metadata_bytes: int = 1_000_000
    """EXIF, ICC profile and text, each."""
    scans: int = 100
    """Passes of a progressive JPEG: ordinary files have about ten, a bomb has thousands."""


def open_image(
    source: str | os.PathLike[str] | bytes | Image.Image | np.ndarray,
    *,
    at_least: int | None = None,
    alpha: bool | None = False,
    background: tuple[int, int, int] = WHITE,
    limits: Limits = Limits(),
    formats: tuple[str, ...] = FORMATS,
) -> Image.Image:
    """Open an image as a plain RGB (or RGBA) picture, upright, first frame only.

    source: path, encoded bytes, PIL image, or array (H, W), (H, W, 1|2|3|4) of uint8, uint16, bool, or float in [0, 1]. at_least: a
    JPEG may be decoded at 1/2, 1/4 or 1/8 as long as its shorter side stays at least this long (other formats ignore it). alpha: True
    returns RGBA, None RGBA where there is transparency; otherwise transparency is laid over `background`. Raises BadImage for whatever
    is broken, too large or not allowed, FileNotFoundError for a path that is not there.
    """
    if isinstance(source, np.ndarray):
        picture = from_array(source)
    elif isinstance(source, Image.Image):
        picture = _load(source, at_least, limits)
    else:
        data = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else read_file(source, limits)
        picture = _load(_open(data, limits, formats), at_least, limits)
    rgba_or_rgb = to_rgb(picture)
    if alpha is None:
        return rgba_or_rgb
    if alpha:
        return rgba_or_rgb if rgba_or_rgb.mode == "RGBA" else rgba_or_rgb.convert("RGBA")
    return flatten(rgba_or_rgb, background)


_MEMBER = re.compile(r"(.+\.tar)#(\d+)\+(\d+)")


def read_file(path: str | os.PathLike[str], limits: Limits = Limits()) -> bytes:
    """The bytes of a regular file within the size limit (pipes and devices, which may never end, are refused).

    ``shard.tar#OFFSET+LENGTH`` is a part of an uncompressed tar, which is how tables name the images inside of shards.
    """
    part = _MEMBER.fullmatch(str(path)) if "#" in str(path) else None
    if part is not None and not os.path.lexists(path):
        return _read_part(Path(part[1]), int(part[2]), int(part[3]), limits)
    path = Path(path)
    try:
        info = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path} does not exist") from None
    except (OSError, ValueError) as e:
        raise BadImage(f"{str(path)[:200]!r} cannot be opened: {e}") from None
    if not stat.S_ISREG(info.st_mode):
        raise BadImage(f"{path} is not a regular file")
    if info.st_size > limits.file_bytes:
        raise BadImage(
            f"{path} has {info.st_size:,} bytes, more than the limit of {limits.file_bytes:,}: shrink it or raise Limits.file_bytes"
        )
    try:
        return path.read_bytes()
    except OSError as e:
        raise BadImage(f"{path} cannot be read: {e.strerror}") from None


def _read_part(path: Path, offset: int, length: int, limits: Limits) -> bytes:
    if length > limits.file_bytes:
        raise BadImage(f"the image in {path} has {length:,} bytes, more than the limit of {limits.file_bytes:,}: raise Limits.file_bytes")
    try:
        with path.open("rb") as f:
            f.seek(offset)
            data = f.read(length)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except OSError as e:
        raise BadImage(f"{path} cannot be read: {e.strerror}") from None
    if len(data) < length:
        raise BadImage(f"{path} ends before the image at {offset}: the shard is truncated or has changed")
    return data


def _open(data: bytes, limits: Limits, formats: tuple[str, ...]) -> Image.Image:
    """Parse the header only."""
    if not data:
        raise BadImage("the image is empty (0 bytes)")
    if len(data) > limits.file_bytes:
        raise BadImage(f"the image has {len(data):,} bytes, more than the limit of {limits.file_bytes:,}: raise Limits.file_bytes")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_size(*_webp_canvas(data), limits)  # before Pillow, whose WebP reader allocates two canvases on opening
    if data[:2] == b"\xff\xd8" and data.count(b"\xff\xda") > limits.scans:
        raise BadImage(
            f"this JPEG has more than {limits.scans} scans, which ordinary files never have: save it again without 'progressive'"
        )
    try:
        return Image.open(BytesIO(data), formats=formats)
    except Image.UnidentifiedImageError:
        raise BadImage(f"not an image in an allowed format ({', '.join(formats)}); it starts with {data[:12]!r}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # Pillow's own bound, far above the default limit
        raise BadImage(
            f"the picture has more than {limits.pixels:,} pixels: shrink it, or raise Limits.pixels and Image.MAX_IMAGE_PIXELS"
        ) from None
    except Exception as e:  # a decoder fed with hostile bytes may raise anything
        raise BadImage(f"broken header: {_short(e)}") from None


def _load(im: Image.Image, at_least: int | None, limits: Limits) -> Image.Image:
    """Check size and metadata of an opened image, then decode its first frame and turn it upright."""
    _check_size(*im.size, limits)
    for key, value in im.info.items():
        if isinstance(value, (bytes, str)) and len(value) > limits.metadata_bytes:
            raise BadImage(
                f"its metadata {str(key)[:40]!r} is longer than {limits.metadata_bytes:,} bytes: strip it, or raise Limits.metadata_bytes"
            )
    try:
        if at_least is not None and im.format in ("JPEG", "MPO"):
            im.draft(None, (at_least, at_least))
        im.load()
    except MemoryError:
        raise BadImage(f"not enough memory to decode {im.width}x{im.height} pixels") from None
    except Exception as e:
        raise BadImage(f"truncated or corrupt {im.format or 'image'}: {_short(e)}") from None
    _check_size(*im.size, limits)  # a GIF frame may be larger than its screen
    try:
        turn = _TURN.get(im.getexif().get(_ORIENTATION))
    except Exception:  # an unreadable EXIF block carries no orientation; the pixels are fine
        turn = None
    return im if turn is None else _keep_info(im.transpose(turn), im)


def _keep_info(new: Image.Image, old: Image.Image) -> Image.Image:
    new.info = dict(old.info)
    return new


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width < 1 or height < 1:
        raise BadImage(f"the picture has no pixels ({width}x{height})")
    if width > limits.side or height > limits.side:
        raise BadImage(f"the picture is {width}x{height}, longer than {limits.side:,} pixels on a side: shrink it or raise Limits.side")
    if width * height > limits.pixels:
        raise BadImage(f"the picture is {width}x{height}, more than {limits.pixels:,} pixels: shrink it or raise Limits.pixels")


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Width and height from a WebP header (lossy, lossless or extended)."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise BadImage("broken header: WebP file ends too early")
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise BadImage(f"broken header: unknown WebP chunk {kind!r}")


def pixels(source: Any, size: int | None = None, *, channels: int = 3, fit: str = "contain", **options: Any) -> np.ndarray:
    """Open an image and bring it to a square: uint8 (size, size, channels), or (H, W, channels) when size is None.

    fit: ``"contain"`` shows the whole picture, centred, padded with transparency (4 channels) or white (3); ``"cover"`` fills the square
    and crops the middle; ``"stretch"`` ignores the aspect ratio. channels: 3 lays transparency over white, 4 keeps it. Other options go
    to `open_image`.
    """
    if channels not in (3, 4) or fit not in ("contain", "cover", "stretch"):
        raise ValueError("channels is 3 or 4, and fit is 'contain', 'cover' or 'stretch'")
    # JPEG draft scaling is crude, so it may do all but the last factor of two
    im = open_image(source, alpha=channels == 4, at_least=None if size is None else 2 * size, **options)
    if size is None:
        return np.asarray(im)
    if fit == "stretch":
        return np.asarray(_resize(im, (size, size)))
    scale = size / (max(im.size) if fit == "contain" else min(im.size))
    width, height = (max(1, round(side * scale)) for side in im.size)
    if fit == "cover":
        # resize only the middle square: the same picture, less work for long strips
        half = min(im.size)
        left, top = (im.width - half) // 2, (im.height - half) // 2
        return np.asarray(_resize(im.crop((left, top, left + half, top + half)), (size, size)))
    canvas = Image.new(im.mode, (size, size), (*WHITE, 0) if channels == 4 else WHITE)
    canvas.paste(_resize(im, (width, height)), ((size - width) // 2, (size - height) // 2))
    return np.asarray(canvas)


def _resize(im: Image.Image, to: tuple[int, int]) -> Image.Image:
    return im if im.size == to else im.resize(to, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _short(e: BaseException) -> str:
    text = str(e).splitlines()[0][:200] if str(e) else ""
    return text or type(e).__name__
