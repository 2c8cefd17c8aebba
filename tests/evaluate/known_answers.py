"""A model whose answers are known, and small packs on disk: picture i is a flat colour that stands for thing i."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.data.packs.splits import Splits
from pairwright.models.dual import DualEncoder

THINGS = 60
HELD = frozenset(f"G{i}" for i in range(0, THINGS, 5))
KINDS = 6


NAMES = [f"quo{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(THINGS)]


def picture(thing: int, vendor: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), (thing * 4, vendor * 40, 0), np.uint8)).save(out, "PNG")
    return out.getvalue()


class _Image(nn.Module):
    """Colour -> one-hot of the thing; the things in `wrong` are taken for the next one."""

    def __init__(self, wrong: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.width = THINGS
        self.mark = nn.Parameter(torch.tensor(float(sum(wrong)) + len(wrong) / 100))
        self.wrong, self.points, self.seen = wrong, frozenset(), 0

    def forward(self, x: Tensor) -> Encoded:
        self.seen += len(x)
        things = (x[:, 0, 0, 0] / 4).round().long().tolist()
        return Encoded.of(torch.eye(THINGS)[[(t + 1) % THINGS if t in self.wrong else t for t in things]] + 0.01)


class _Text(nn.Module):
    """A thing's name -> one-hot; ``kind 3`` -> the sum of its things."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.points = THINGS, frozenset()

    def forward(self, ids: Tensor) -> Encoded:
        rows = [torch.eye(THINGS)[i] if kind == 0 else (torch.arange(THINGS) % KINDS == i).float() for kind, i in ids.tolist()]
        return Encoded.of(torch.stack(rows) + 0.01)


def tokenizer(texts: list[str]) -> Tensor:
    return torch.tensor([[1, int(t.split()[1])] if t.startswith("kind") else [0, NAMES.index(t.casefold())] for t in texts])


def model(wrong: frozenset[int] = frozenset()) -> DualEncoder:
    read = lambda pil: torch.from_numpy(np.asarray(pil.convert("RGB"), dtype=np.float32)).permute(2, 0, 1)
    return DualEncoder({"image": _Image(wrong), "text": _Text()}, preprocess=read, tokenizer=tokenizer)


def table(vendor: str, number: int = 0) -> pa.Table:
    rows = [
        {
            "id": f"{vendor}/G{i}", "image": picture(i, number), "captions": [NAMES[i], NAMES[i].upper(), "x"], "lang": ["en", "en", "de"],
            "name": NAMES[i], "group": f"G{i}", "category": f"kind {i % 2}", "label": f"kind {i % KINDS}", "source": vendor,
            "weight": 1.0, "phash": number * 1000 + i,
        }
        for i in range(THINGS)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def splits() -> Splits:
    return Splits(test={"emoji": HELD}, val={})


def install(monkeypatch, root: Path) -> None:
    """Three vendors as built packs; apple is held out as a whole (the catalogue says so), a fifth of the things everywhere."""
    from pairwright.data import packs
    from pairwright.data.packs import splits as module

    for number, vendor in enumerate(("emoji-google", "emoji-twitter", "emoji-apple")):
        folder = root / vendor
        folder.mkdir(parents=True)
        pq.write_table(table(vendor, number), folder / "pairs.parquet")
        manifest = {"version": "1", "table_sha256": vendor, "licence": "free", "attribution": "us", "show": True, "rows": THINGS}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(packs, "get", lambda name, **_: root / name / "pairs.parquet")
    monkeypatch.setattr(module, "committed", splits)
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(root / "cache"))
