"""`pairwright embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Model, Paths, Precision, Strict


def embed(
    *paths: Paths,
    out: Annotated[Path, Parameter(help="The file to write, safetensors.")],
    model: Model = "sprout",
    batch_size: Annotated[int, Parameter(help="Images embedded at a time.")] = 128,
    precision: Precision = "auto",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Embed images into one file of features.

    The file (safetensors) holds unit rows, ids, and the fingerprint of the model.

    For example:

        pairwright embed photos/ --out feats.safetensors
        pairwright embed a.png b.jpg --out feats.safetensors --model ViT-B-32/openai
    """
    from pairwright.cli.load import load
    from pairwright.cli.options import at_least_one
    from pairwright.quick import embed_all, image_files

    at_least_one("--batch-size", batch_size)
    files = image_files(paths)
    with show.bar("embedding") as progress:
        features, skipped = embed_all(load(model), files, batch_size=batch_size, precision=precision, strict=strict, progress=progress)
    show.skipped(skipped)
    features.save(out)
    rows, width = features.z.shape
    if json:
        made = {"encoder": features.encoder, "precision": features.precision}
        show.as_json({"out": str(out), "rows": rows, "width": width, **made, "skipped": skipped})
    else:
        show.out(f"{rows} images x {width} numbers -> {out} ({features.precision})")
