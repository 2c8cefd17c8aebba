"""The options that several commands share, so that they mean and read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Print JSON on stdout.")]
Model = Annotated[
    str, Parameter(help="Model name: sprout, ViT-B-32/laion2b_s34b_b79k, hf-hub:ORG/REPO, local-dir:PATH. See `pairwright models`.")
]
Top = Annotated[int, Parameter(help="How many answers.")]
Strict = Annotated[
    bool,
    Parameter(negative="", show_default=False, help="Stop at the first image that cannot be read, instead of skipping and listing it."),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "int8"],
    Parameter(help="How pictures are computed. auto: the fastest here that was measured to agree with fp32 (cosine 0.999 or more)."),
]
Paths = Annotated[
    Path, Parameter(help="Image files and folders (searched with their subfolders).", negative="", allow_leading_hyphen=False)
]


def at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}; it has to be 1 or more")
