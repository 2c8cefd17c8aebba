"""Bring a picture of any mode (grey, palette, 16-bit, CMYK, with or without transparency) or an array to RGB or RGBA."""

from __future__ import annotations

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)


class BadImage(ValueError):
    """The image cannot or must not be decoded; the message says why and what to do."""


def to_rgb(im: Image.Image) -> Image.Image:
    """Any mode -> RGB, or RGBA where there is transparency. 16-bit values are scaled, not clipped; a palette keeps its alpha."""
    if im.mode in ("RGB", "RGBA") and "transparency" not in im.info:
        return im if type(im) is Image.Image else im.copy()
    if im.mode.startswith("I") or im.mode == "F":
        return _deep_grey(im)
    if im.mode in ("LA", "PA", "La", "RGBa") or "transparency" in im.info:
        if im.mode in ("La", "PA"):
            im = im.convert("LA" if im.mode == "La" else "RGBA")
        try:
            return im.convert("RGBA")
        except (ValueError, TypeError, OSError):  # a transparency entry that does not fit the mode: the colours are still good
            im = im.copy()
            im.info.pop("transparency", None)
    return im.convert("RGB")


def _deep_grey(im: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey -> RGB(A). Integers above 255 are 16-bit; floats are in [0, 1] unless they exceed 1."""
    values = np.asarray(im)
    if im.mode == "F":
        grey = np.nan_to_num(values.astype(np.float64))
        grey = grey * 255 if grey.size and grey.max() <= 1 else grey
    else:
        grey = values.astype(np.float64) / (257.0 if im.mode.startswith("I;16") or values.max(initial=0) > 255 else 1.0)
    grey = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    see_through = im.info.get("transparency")
    if not isinstance(see_through, int):
        return grey.convert("RGB")
    alpha = Image.fromarray(np.where(values == see_through, 0, 255).astype(np.uint8))
    return Image.merge("RGBA", (grey, grey, grey, alpha))


def from_array(array: np.ndarray) -> Image.Image:
    """(H, W) or (H, W, 1|2|3|4) of uint8, uint16, bool, or float in [0, 1] -> picture."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise BadImage(f"an array of shape {array.shape} is no image: expected (H, W) or (H, W, 1|2|3|4), channels last")
    if 0 in array.shape:
        raise BadImage(f"the picture has no pixels {array.shape}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = np.rint(array / 257.0).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise BadImage("a float image has to be finite and within [0, 1]: divide by 255, or pass uint8")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise BadImage(f"images of dtype {array.dtype} are not supported: pass uint8, uint16, bool, or float in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(array))


def flatten(im: Image.Image, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """RGBA -> RGB over a plain colour; other modes -> RGB."""
    if im.mode != "RGBA":
        return im if im.mode == "RGB" else im.convert("RGB")
    canvas = Image.new("RGBA", im.size, (*background, 255))
    return Image.alpha_composite(canvas, im).convert("RGB")
