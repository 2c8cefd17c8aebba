"""Train a two-encoder model on your own pairs: from the weights of any model, or from scratch, with the loss of CLIP or SigLIP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from pairwright.core import dist
from pairwright.core.numerics import hash_uniform, seed_of
from pairwright.data import columns, views
from pairwright.data.loader import Loader
from pairwright.data.sampler.plain import Plain
from pairwright.data.table import read_table
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.contrast.sigmoid import Sigmoid
from pairwright.metrics.retrieval import retrieval
from pairwright.models.dual import DualEncoder
from pairwright.models.embed import embed
from pairwright.models.load import load, save
from pairwright.train.loop import run
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig
from pairwright.train.source import LoaderSource
from pairwright.train.stage import Batch, Stage


@dataclass(frozen=True)
class ClipConfig:
    """Settings of the run; every one can be set with ``--set name=value``."""

    model: str = "sprout"
    """The model to start from: any name that `load` takes."""
    scratch: bool = False
    """Draw new weights for that architecture instead of using its own."""
    loss: Literal["clip", "siglip"] = "clip"
    epochs: float = 10.0
    steps: int = 0
    """Number of steps; 0 takes it from `epochs`."""
    batch: int = 64
    micro: int | Literal["auto"] = 0
    """Rows per pass through the towers (gradient caching); 0: the whole batch; auto: found by trying, once, before the run starts."""
    checkpoint_activations: bool = False
    """Recompute the blocks of the towers in the backward pass: less memory, about a third more time."""
    across: Literal["gather", "ring"] = "gather"
    """How the pictures and captions of several processes meet: gather them all, or pass them round in less memory. The same numbers."""
    shard: bool = False
    """Split weights and optimizer state over the processes (FSDP2). Checkpoints fit any number of processes, sharded or not."""
    lr: float = 5e-5
    weight_decay: float = 0.1
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    freeze: Literal["none", "image", "text"] = "none"
    """A tower to keep as it is: ``image`` is locked-image tuning."""
    augment: float = 0.5
    """Strength of random crops and colour changes, 0 for none. Pictures are never mirrored: captions may say left and right."""
    ema: float = 0.0
    val: float = 0.1
    """Share of the groups kept for validation: nothing is chosen on them, they show what training did."""
    caption: str = "a photo of a {}"
    """How a label becomes a caption where the data have labels and no captions."""
    workers: int = 2
    seed: int = 0
    save_every: int = 200
    validate_every: int = 100
    precision: str = "auto"


CONFIG = ClipConfig


def clip(data: str | None, out: Path, *, resume: bool = False, config: ClipConfig = ClipConfig()) -> Path:
    """Train on the pairs in `data` (anything that `read_table` reads) and write the model folder ``out/model``."""
    if data is None:
        raise ValueError("name the pairs to train on: --data FOLDER, a CSV, JSONL or parquet file, or WebDataset tars")
    out = Path(out)
    table = with_captions(read_table(data), config.caption)
    train, val = split_by_group(table, config.val, config.seed)
    model = load(config.model)
    if config.scratch:
        redraw(model, config.seed)
    if config.loss == "siglip" and model.logit_bias is None:
        model.logit_bias = nn.Parameter(torch.tensor(-10.0))
    root = Path(data) if Path(data).is_dir() else Path(data).parent
    source = pairs_source(train, model, config, root)
    steps = config.steps or max(1, round(config.epochs * len(train) / source.batch_size))
    loss = {"clip": InfoNCE, "siglip": Sigmoid}[config.loss]()
    frozen = f"towers.{config.freeze}."
    stage = Stage(
        "pairs",
        Sum({config.loss: loss}),
        source,
        steps,
        OptimConfig(config.lr, config.weight_decay, warmup=round(config.warmup * steps)),
        trainable=lambda name: not name.startswith(frozen),
        ema=config.ema,
        micro=config.micro or None,
        validate=own_retrieval(val, root) if len(val) else None,
        validate_every=config.validate_every,
        checkpoint_activations=config.checkpoint_activations,
        across=config.across,
    )
    run(
        model, [stage], out, config=vars(config), seed=config.seed, resume=resume, save_every=config.save_every, precise=config.precision,
        sharded=config.shard,
    )  # fmt: skip
    if dist.rank() == 0:
        save(model, out / "model")
    dist.barrier()
    return out / "model"


def with_captions(table: pa.Table, template: str) -> pa.Table:
    """The table with captions: its own, or made from its labels."""
    if "captions" in table.column_names:
        return table
    if "label" not in table.column_names:
        raise ValueError("these data have neither captions nor labels: add a caption column, or put the pictures in a folder per class")
    said = [[template.format(str(label).replace("_", " "))] for label in table["label"].to_pylist()]
    return table.append_column("captions", pa.array(said, pa.list_(pa.string())))


def split_by_group(table: pa.Table, share: float, seed: int) -> tuple[pa.Table, pa.Table]:
    """Train and validation rows; rows of one group stay on one side. Class folders split by row: there the classes are the same."""
    if not 0 <= share < 1:
        raise ValueError(f"val is a share of the data, 0 to below 1; got {share}")
    key = columns.group_ids(table) if "group" in table.column_names else columns.sample_ids(table)
    held = hash_uniform(torch.from_numpy(key), salt=seed_of("val", seed)).numpy() < share
    if held.all():
        raise ValueError(f"nothing is left to train on: {len(table)} rows in {len(np.unique(key))} groups; lower --set val={share}")
    return table.filter(pa.array(~held)), table.filter(pa.array(held))


def redraw(model: DualEncoder, seed: int) -> None:
    """New random weights, by each module's own rule."""
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    with torch.no_grad():
        model.logit_scale.fill_(np.log(1 / 0.07))


def pairs_source(table: pa.Table, model: DualEncoder, config: ClipConfig, root: Path) -> LoaderSource:
    """Batches of augmented, normalised pictures and tokens for this model."""
    how = model.preprocess.config
    side = how["size"] if isinstance(how["size"], int) else max(how["size"])
    batch = min(config.batch, len(table)) // dist.world() * dist.world()
    if batch < 2:
        raise ValueError(f"a contrastive batch needs at least two pairs per process; {len(table)} rows are left for training")
    fit = {"shortest": "cover", "longest": "contain", "squash": "stretch"}[how["resize_mode"]]
    loader = Loader(
        table, Plain(len(table), batch, seed=config.seed), size=side, fit=fit, captions="one", rank=dist.rank(), world=dist.world(),
        workers=config.workers, root=root,
    )  # fmt: skip
    s = config.augment
    augment = views.Augment(
        area=(1 - s, 1.0), aspect=1 + s / 3, flip=0.0, brightness=0.4 * s, contrast=0.4 * s, saturation=0.4 * s, hue=0.0, grey=0.0
    )
    mean, std = (torch.tensor(how[k]).view(3, 1, 1) for k in ("mean", "std"))

    def collate(raw: dict[str, Any]) -> Batch:
        images: Tensor = views.view(raw["images"], views.seeds(raw["sample"], raw["epoch"]), augment)
        inputs = {"image": (images - mean) / std, "text": model.tokenizer(raw["captions"])}
        same_words = torch.from_numpy(columns.int_ids(raw["captions"]))
        group = raw["group"] if "group" in table.column_names else same_words
        return Batch(inputs, group_B=group, sample_B=raw["sample"])

    return LoaderSource(loader, collate, {"augment": vars(augment), "size": side})


def own_retrieval(val: pa.Table, root: Path) -> Callable[[nn.Module], Mapping[str, float]]:
    """Validation numbers: finding a picture by its first caption and the caption by its picture, among the validation rows."""
    texts = [c[0] for c in val["captions"].to_pylist()]
    by_text = columns.int_ids(texts)
    column = columns.ImageColumn(val, root)
    pictures = [column[i] for i in range(len(val))]
    known = {p if isinstance(p, str) else str(i): i for i, p in enumerate(pictures)}

    def validate(model: nn.Module) -> dict[str, float]:
        bad: dict[str, str] = {}
        image = embed(model, images=pictures, skipped=bad)
        text = embed(model, texts=texts)
        rows = [known[i] for i in image.ids]
        words, ids = text.rows(rows), by_text[rows]
        values = {}
        for name, query, item in (("text_to_image", words, image), ("image_to_text", image, words)):
            scores = retrieval(query, item, (ids, ids), ks=(1, 5))
            values |= {f"val_{name}_{m}": float(scores[m]) for m in ("recall@1", "recall@5")}
        return values

    return validate
