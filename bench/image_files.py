"""Image files to embeddings: 12-megapixel photographs with ViT-B-32, and icons with a model of the size of the built-in one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from bench.harness import Case, Entry, timed
from bench.twins import chosen, near, vit_b_32
from pairwright.models.dual import DualEncoder
from pairwright.models.embed import embed
from pairwright.models.preprocess import Preprocess
from pairwright.models.tiny import tiny
from pairwright.models.towers.timm_image import TimmImage

PHOTOS, ICONS = 32, 600
BATCH = 32


def cases() -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        yield photos(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield icons(Path(folder))


def photos(folder: Path) -> Case:
    theirs, ours = vit_b_32()
    files = [folder / f"{i:02}.jpg" for i in range(PHOTOS)]
    pictures = [photograph(seed) for seed in range(8)]
    for i, file in enumerate(files):
        pictures[i % len(pictures)].save(file, quality=90)
    chosen(ours, torch.stack([ours.preprocess(p) for p in pictures]), BATCH)
    preprocess = open_clip.image_transform(224, is_train=False)

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        rows = []
        for at in range(0, len(files), BATCH):
            x = torch.stack([preprocess(Image.open(f)) for f in files[at : at + BATCH]])
            rows.append(theirs.encode_image(x, normalize=True))
        return torch.cat(rows)

    return Case(
        name="image_files",
        title="12-megapixel JPEG files to embeddings, ViT-B-32",
        inputs=f"{PHOTOS} files of 4000 x 3000 pixels, batches of {BATCH}; seeded random weights; the backend was chosen before.",
        cost="seconds",
        ours=Entry(
            "pairwright",
            "pw.embed(model, images=files, precision='auto')",
            timed(lambda: embed(ours, images=files, batch_size=BATCH, precision="auto").z),
        ),
        peers=[
            Entry("open_clip", "model.encode_image(torch.stack([preprocess(Image.open(f)) for f in batch]), normalize=True)", timed(plain))
        ],
        agree=near,
        rounds=3,
        bar=4.0,
        note="A JPEG is decoded at the smallest scale that leaves twice the side that the model sees, which spares "
        "most of the inverse transform, the colour conversion and the resize; its entropy coding has to be read whole and is what remains. "
        "Decoding runs in threads beside the encoder: Pillow lets go of the interpreter while it decodes and resizes.",
    )


def icons(folder: Path) -> Case:
    torch.manual_seed(0)
    small = TimmImage("fasternet_t0", 256, size=64)
    preprocess = Preprocess(64, resize_mode="longest", fill_color=255, on_white=True)
    text = tiny(0, dim=256).towers["text"]
    model = DualEncoder({"image": small, "text": text}, preprocess=preprocess).eval()
    rng = np.random.default_rng(0)
    files = [folder / f"{i:03}.png" for i in range(ICONS)]
    for file in files:
        blocks = Image.fromarray(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8))
        blocks.resize((256, 256), Image.Resampling.NEAREST).save(file)

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        parts = (files[at : at + BATCH] for at in range(0, ICONS, BATCH))
        return torch.cat([model.image(torch.stack([preprocess(Image.open(f)) for f in part])).z_BD for part in parts])

    return Case(
        name="image_files_icons",
        title="Icon files to embeddings, a model of the built-in one's size",
        inputs=f"{ICONS} PNG files of 256 x 256 pixels with transparency, fasternet_t0 at 64 pixels, batches of {BATCH}; random weights.",
        cost="seconds",
        ours=Entry(
            "pairwright",
            "pw.embed(model, images=files, precision='auto')",
            timed(lambda: embed(model, images=files, batch_size=BATCH, precision="auto").z),
        ),
        peers=[Entry("plain loop", "model.image(torch.stack([preprocess(Image.open(f)) for f in batch])), the same model", timed(plain))],
        agree=near,
        rounds=5,
        limit=ICONS / 300,
        note="The goal is 300 images a second from files.",
    )


def photograph(seed: int) -> Image.Image:
    """12 megapixels with structure at every scale, and grain."""
    rng = np.random.default_rng(seed)
    picture: Any = np.zeros((3000, 4000, 3), np.float32)
    for across, strength in ((4, 0.5), (64, 0.3), (800, 0.15)):
        small = Image.fromarray(rng.integers(0, 256, (across * 3 // 4, across, 3), dtype=np.uint8))
        picture += strength * np.asarray(small.resize((4000, 3000), Image.Resampling.BICUBIC), np.float32)
    picture += 5 * rng.standard_normal(picture.shape, dtype=np.float32)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))
