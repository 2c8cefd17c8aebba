"""From a folder for each class to a fine-tuned model: what the recipes for classification share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import seed_of
from pairwright.data import columns
from pairwright.data.table import read_table
from pairwright.data.text.templates import fill, templates
from pairwright.heads.linear.logistic import Logistic
from pairwright.heads.persist import save_head
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.models.dual import DualEncoder
from pairwright.models.embed import embed
from pairwright.models.load import load, save
from pairwright.recipes._fine_tune import How, class_ids
from pairwright.recipes.clip import ClipConfig, pairs_source, split_by_group
from pairwright.train.stage import Batch, Source


@dataclass(frozen=True)
class ClassesConfig:
    """Settings that all recipes for classes share; every one can be set with ``--set name=value``."""

    model: str = "sprout"
    """The model to start from: any name that `load` takes."""
    template: str = "a photo of a {}"
    """What a class is called in words; the name of a shipped list, or several sentences: a step of training sees one of them."""
    steps: int = 0
    """Number of steps; 0 takes the recipe's rule."""
    batch: int = 32
    micro: int = 0
    """Rows per pass through the towers (gradient caching); 0: the whole batch."""
    lr: float = 1e-5
    weight_decay: float = 0.1
    warmup: float = 0.0
    """Share of the steps in which the learning rate rises."""
    augment: float = 0.5
    """Strength of random crops and colour changes, 0 for none. Pictures are never mirrored."""
    val: float = 0.0
    """Share of the rows kept for validation where the data name no val split; what it is used for stands with the recipe."""
    workers: int = 2
    seed: int = 0
    save_every: int = 200
    precision: str = "auto"

    def how(self, steps: int) -> How:
        return How(
            steps, self.lr, self.weight_decay, self.warmup, clip_norm=1.0, micro=self.micro, seed=self.seed, precise=self.precision
        )  # fmt: skip


@dataclass(frozen=True)
class Classes:
    """A model and the labelled pictures to tune it on. names: the classes, sorted; train, val: tables with a column `label`."""

    model: DualEncoder
    names: tuple[str, ...]
    train: pa.Table
    val: pa.Table
    root: Path
    config: ClassesConfig

    @property
    def shots(self) -> float:
        return len(self.train) / len(self.names)

    def text(self) -> ClassText:
        return class_text(self.model, self.names, self.config.template)

    def pairs(self) -> Source:
        """Batches of augmented pictures with captions made from their labels, one template drawn for each row and epoch; rows of a class
        are positives of each other."""
        said = [[fill(t, spoken(label)) for t in templates(self.config.template)] for label in self.train["label"].to_pylist()]
        table = self.train.append_column("captions", pa.array(said, pa.list_(pa.string())))
        c = self.config
        return pairs_source(
            table, self.model, ClipConfig(batch=c.batch, augment=c.augment, workers=c.workers, seed=c.seed), self.root
        )  # fmt: skip

    def labelled(self, text: bool) -> Source:
        """Batches of augmented pictures with their labels, and with prompts of all classes if `text`: one template a step, by hash."""
        prompts = [class_ids(self.model, self.names, t) for t in templates(self.config.template)] if text else []
        return Labelled(self.pairs(), _keys(self.names), prompts, self.config.seed)

    def features(self, part: str) -> Features:
        """Embedded pictures of ``train`` or ``val`` with labels; what cannot be read is left out, with a warning."""
        table = getattr(self, part)
        column = columns.ImageColumn(table, self.root)
        pictures = [column[i] for i in range(len(table))]
        known = {p if isinstance(p, str) else str(i): i for i, p in enumerate(pictures)}
        z = embed(self.model, images=pictures)
        place = {name: c for c, name in enumerate(self.names)}
        labels = [place[spoken(label)] for label in table["label"].to_pylist()]
        return replace(z, y_N=torch.tensor([labels[known[i]] for i in z.ids]), classes=self.names, split=part)


def open_classes(data: str | None, config: ClassesConfig) -> Classes:
    """Read labelled pictures (a folder for each class, or any table with labels) and load the model. A test split is left alone."""
    if data is None:
        raise ValueError("name the pictures to train on: --data FOLDER with a folder for each class, or a table with a label column")
    table = read_table(data)
    if "label" not in table.column_names:
        raise ValueError("these data have no labels: put the pictures in a folder for each class, or add a label column")
    table = table.filter(pc.is_valid(table["label"]))
    if "split" in table.column_names:
        train, val = (table.filter(pc.equal(table["split"], part)) for part in ("train", "val"))
    else:
        train, val = split_by_group(table, config.val, config.seed)
    train, val = by_class(train), by_class(val)
    names = tuple(sorted({spoken(label) for label in train["label"].to_pylist()}))
    if len(names) < 2:
        raise ValueError(f"fine-tuning for classes needs at least two of them; {data} has {len(names)} to train on")
    val = val.filter(pa.array([spoken(label) in names for label in val["label"].to_pylist()], pa.bool_()))
    path = Path(data)
    return Classes(load(config.model), names, train, val, path if path.is_dir() else path.parent, config)


def by_class(table: pa.Table) -> pa.Table:
    """The table with its labels as groups, so that rows of a class belong together, and without captions of its own."""
    table = table.select([c for c in table.column_names if c not in ("captions", "group")])
    return table.append_column("group", pa.array([spoken(label) for label in table["label"].to_pylist()], pa.string()))


def finish(classes: Classes, out: Path, head: tuple[Tensor, Tensor] | None = None, **facts: Any) -> Path:
    """Write the model folder ``out/model``, ``out/classes.json`` with the names and the figures, and a learned head where there is one."""
    folder = save(classes.model, out / "model")
    found: dict[str, Any] = {"names": list(classes.names), "template": classes.config.template, "train": len(classes.train), **facts}
    fitted = linear_head(classes.model, head) if head is not None else None
    if fitted is not None:
        save_head(fitted, out / "head.safetensors")
    if len(classes.val):
        val = classes.features("val")
        text = classes.text()
        logits_NC = val.z @ text.W_CD.T if fitted is None else fitted.logits(val)
        found |= {"val": len(val), "val_accuracy": float((logits_NC.argmax(1) == val.y).double().mean())}
    io.write_json(out / "classes.json", found)
    return folder


def linear_head(model: DualEncoder, head: tuple[Tensor, Tensor]) -> Logistic:
    """A linear classifier on this model's features from its weights (C, D) and biases (C,)."""
    fitted = Logistic()
    fitted.weight_, fitted.bias_ = (t.detach().float().cpu().clone() for t in head)
    fitted.encoder_, fitted.l2_ = model.fingerprint, 0.0
    return fitted


class Labelled:
    """A source of pairs as a source of labelled pictures: group ids become places in a list of keys. prompts: token ids of all classes,
    an entry for each template; each step sees one of them, drawn by hash, so that it is their mean that is learned."""

    def __init__(self, pairs: Source, keys_C: Tensor, prompts: Sequence[Tensor] = (), seed: int = 0) -> None:
        self.pairs, self.keys_C, self.prompts, self.seed, self.batch_size = pairs, keys_C, list(prompts), seed, pairs.batch_size

    def spec(self) -> Mapping[str, Any]:
        return self.pairs.spec()

    def batches(self, start: int) -> Iterator[Batch]:
        for step, b in enumerate(self.pairs.batches(start), start):
            y_B = (torch.as_tensor(b.group_B)[:, None] == self.keys_C).int().argmax(1)
            some = {"text": self.prompts[seed_of("template", self.seed, step) % len(self.prompts)]} if self.prompts else {}
            yield Batch({"image": b.inputs["image"], **some}, group_B=y_B, sample_B=b.sample_B)


def spoken(label: object) -> str:
    """A label as words: folder names have underscores for spaces."""
    return str(label).replace("_", " ")


def _keys(names: Sequence[str]) -> Tensor:
    """The group ids that the loader gives to rows of these classes."""
    table = pa.table({"id": [str(i) for i in range(len(names))], "group": list(names)})
    return torch.from_numpy(columns.group_ids(table).copy())
