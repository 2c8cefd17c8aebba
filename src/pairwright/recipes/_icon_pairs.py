"""The data of sprout: training rows of the packs, which caption a step shows, and what the sentence teacher says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pairwright.core import dist, io
from pairwright.core.numerics import hash_uniform, seed_of
from pairwright.data import packs, views
from pairwright.data.cache import DecodedCache
from pairwright.data.loader import Loader
from pairwright.data.packs.splits import assign
from pairwright.data.sampler.plain import Plain
from pairwright.data.sampler.weighted import Weighted
from pairwright.train.source import LoaderSource
from pairwright.train.stage import Batch

COLUMNS = ["id", "image", "captions", "lang", "name", "group", "category", "label", "source", "weight", "phash"]
TEMPLATES = ("{}", "an icon of {}", "{} icon", "a picture of {}", "clip art of {}", "{} emoji", "a drawing of {}", "a symbol for {}")
INKS = ("black", "white", "red", "green", "blue", "yellow", "orange", "purple", "brown", "grey", "gray", "pink", "dark")


def training_table(weights: Mapping[str, float], split: str = "train", columns: Sequence[str] = COLUMNS) -> pa.Table:
    """Rows of `split` of the packs named in `weights`, English captions only; ``weight`` is the row's own times its pack's."""
    parts = []
    for name, weight in weights.items():
        table = packs.load(name, list(columns))
        table = assign(table)
        table = table.filter(pa.compute.equal(table["split"], split))
        rows = table.select(["name", "captions", "lang"]).to_pylist()
        english = [[r["name"], *(c for c, l in zip(r["captions"], r["lang"]) if l == "en" and c != r["name"])] for r in rows]
        table = table.drop_columns(["captions", "lang"])
        table = table.append_column("captions", pa.array(english, pa.list_(pa.string())))
        i = table.column_names.index("weight")
        parts.append(table.set_column(i, "weight", pa.compute.multiply(table["weight"], pa.scalar(weight, pa.float32()))))
    return pa.concat_tables(parts)


def texts_of(table: pa.Table) -> list[str]:
    """Every caption of the table, once, sorted."""
    return sorted(pa.compute.unique(pa.compute.list_flatten(table["captions"])).to_pylist())


def dictionary() -> list[str]:
    """WordNet's common words (no names, phrases or glosses), sorted: what the text tower reads beyond the captions."""
    table = packs.load("wordnet", ["captions"])
    texts = {t for captions in table["captions"].to_pylist() for t in captions}
    return sorted(t for t in texts if len(t) <= 12 and t.isalpha() and t == t.lower())


@dataclass(frozen=True)
class Teacher:
    """Stored embeddings of texts: rows of z_ND by text. ``folder`` of a sentence encoder in transformers' layout, mean pooled."""

    texts: tuple[str, ...]
    z_ND: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "_row", {t: i for i, t in enumerate(self.texts)})

    def __call__(self, texts: Sequence[str]) -> Tensor:
        return self.z_ND[[self._row[t] for t in texts]].float()

    @staticmethod
    def build(texts: Sequence[str], encode: Any, name: str, cache: Path) -> Teacher:
        """Embed `texts` once (fp16, by content hash) with `encode(list of str) -> (n, D)`, longest first so that batches are even."""
        path = cache / f"teacher-{io.hash_json([name, *texts])[:16]}.safetensors"
        if path.exists():
            return Teacher(tuple(texts), io.load_tensors(path)[0]["z"])
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        z: Tensor | None = None
        from tqdm import tqdm

        for i in tqdm(range(0, len(order), 256), desc="teacher", unit="batch"):
            rows = order[i : i + 256]
            part = encode([texts[j] for j in rows])
            z = torch.empty(len(texts), part.shape[1], dtype=torch.float16) if z is None else z
            z[rows] = part.half()
        io.save_tensors(path, {"z": z})
        return Teacher(tuple(texts), z)


class IconPairs(LoaderSource):
    """Source of image-text batches for training: cached pictures, seeded views, one caption a row, its teacher's embedding.

    The caption is the name (probability 0.6), another caption (0.2) or the name with another caption (0.2), in a template half of the
    time. Rows with the same name are positives of each other.
    """

    def __init__(
        self, table: pa.Table, cache: DecodedCache, tokenizer: Any, teacher: Teacher | None, *, batch_size: int, size: int, normalise: Any,
        augment: views.Augment = views.ICONS, seed: int = 0,
    ) -> None:  # fmt: skip
        self.size, self.augment, self.seed = size, augment, seed
        self.tokenizer, self.teacher, self.normalise = tokenizer, teacher, normalise
        whole = max(batch_size, len(table) // batch_size * batch_size)
        sampler = Weighted(table["weight"].to_numpy(), batch_size, rows_per_epoch=whole, seed=seed)
        loader = Loader(table, sampler, cache=cache, captions="all", rank=dist.rank(), world=dist.world())
        self._name_N = torch.tensor([seed_of("name", n.lower()) for n in table["name"].to_pylist()])
        super().__init__(loader, self._collate, {"size": size, "augment": vars(augment)})

    def _collate(self, raw: dict[str, Any]) -> Batch:
        said, shown = self.captions(raw["captions"], raw["sample"], raw["epoch"])
        keep_ink = torch.tensor([any(f" {ink} " in f" {s.lower()} " for ink in INKS) for s in said])
        images = views.view(raw["images"], views.seeds(raw["sample"], raw["epoch"]), self.augment, size=self.size, keep_ink_B=keep_ink)
        stored = {} if self.teacher is None else {"teacher.text": self.teacher(said)}
        return Batch({"image": self.normalise(images), "text": self.tokenizer(shown)}, stored, self._name_N[raw["row"]], raw["sample"])

    def captions(self, all_b: list[list[str]], sample_b: Tensor, epoch: int) -> tuple[list[str], list[str]]:
        """For each row one of the stored texts (what the teacher knows), and the words that are shown."""
        u, v, w, x = (hash_uniform(sample_b, salt=seed_of("say", self.seed, epoch, k)).tolist() for k in range(4))
        said, shown = [], []
        for i, texts in enumerate(all_b):
            name, others = texts[0], texts[1:] or texts
            other = others[int(v[i] * len(others))]
            said.append(other if 0.6 <= u[i] < 0.8 else name)
            words = said[-1] if u[i] < 0.8 or other == name else f"{name}, {other}"
            shown.append(TEMPLATES[int(x[i] * len(TEMPLATES))].format(words) if w[i] < 0.5 else words)
        return said, shown


class Sentences:
    """Source of text-only batches with their teacher's embeddings."""

    def __init__(self, texts: Sequence[str], tokenizer: Any, teacher: Teacher, *, batch_size: int, seed: int = 0) -> None:
        self.texts, self.tokenizer, self.teacher = list(texts), tokenizer, teacher
        self.batch_size, self.seed = batch_size, seed
        self.sampler = Plain(len(texts), batch_size, seed=seed)

    def spec(self) -> dict[str, Any]:
        return {**self.sampler.spec(), "texts": io.hash_json(self.texts)[:16]}

    def batches(self, start: int) -> Iterator[Batch]:
        per_epoch = len(self.sampler.batches(0))
        epoch, skip = divmod(start, per_epoch)
        while True:
            for rows in self.sampler.batches(epoch)[skip:]:
                mine = np.array_split(rows, dist.world())[dist.rank()]
                said = [self.texts[i] for i in mine]
                yield Batch({"text": self.tokenizer(said)}, {"teacher.text": self.teacher(said)}, sample_B=torch.from_numpy(mine))
            epoch, skip = epoch + 1, 0
