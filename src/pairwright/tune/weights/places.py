"""Where the weight matrices of a tower are: queries, keys, values, outputs and feed-forward layers, in any naming in circulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pairwright.models.dual import DualEncoder

PARTS = (
    # how a parameter's name ends, and the parts that lie in its rows one below the other: open_clip and ours, timm, then transformers
    ("attn.in_proj_weight", ("q", "k", "v")),
    ("attn.out_proj.weight", ("o",)),
    ("mlp.c_fc.weight", ("fc",)),
    ("mlp.c_proj.weight", ("proj",)),
    ("attn.qkv.weight", ("q", "k", "v")),
    ("attn.proj.weight", ("o",)),
    ("mlp.fc1.weight", ("fc",)),
    ("mlp.fc2.weight", ("proj",)),
    (".q_proj.weight", ("q",)),
    (".k_proj.weight", ("k",)),
    (".v_proj.weight", ("v",)),
    ("attention.out_proj.weight", ("o",)),
    ("self.query.weight", ("q",)),
    ("self.key.weight", ("k",)),
    ("self.value.weight", ("v",)),
    ("attention.output.dense.weight", ("o",)),
    ("intermediate.dense.weight", ("fc",)),
    ("output.dense.weight", ("proj",)),
)
NAMES = ("q", "k", "v", "o", "fc", "proj")


@dataclass(frozen=True)
class Place:
    """One weight matrix to change: `module.name`, called `path` in the model, and the first row of each block of `height` rows in it.

    A kernel (O, I, k, k) counts as a matrix of O rows.
    """

    path: str
    module: nn.Module
    name: str
    starts: tuple[int, ...]
    height: int

    @property
    def weight_OI(self) -> Tensor:
        return getattr(self.module, self.name).flatten(1)


def places(model: DualEncoder, towers: Sequence[str], parts: Sequence[str]) -> list[Place]:
    """The matrices that `parts` name in some towers, in the model's own order.

    parts: of ``q k v o fc proj`` (queries, keys, values, output of the attention, the two feed-forward layers), or patterns of whole
    parameter names as the tower calls them (``"transformer.resblocks.11.*"``, ``"stages.*"``) that match matrices and kernels. Raises
    ValueError where a tower has none of them, naming those that it has.
    """
    found = []
    for name in towers:
        if name not in model.towers:
            raise ValueError(f"this model has no {name!r} tower; it has {', '.join(model.towers)}")
        tower, here, others = model.towers[name], [], []
        for path, module in tower.named_modules():
            if parametrize.is_parametrized(module) and any(p.ndim >= 2 for p in module.parameters()):
                raise ValueError(f"the weights of {path} are already changed by another method: fold or detach that one first")
            for own, p in module.named_parameters(recurse=False):
                full = f"{path}.{own}" if path else own
                starts, height = _blocks(full, p, parts, module)
                if starts:
                    here.append(Place(f"towers.{name}.{full}", module, own, starts, height))
                elif p.ndim >= 2:
                    others.append(full)
        if not here:
            has = f"{', '.join(others[:4])}{' …' if len(others) > 4 else ''}" if others else "none"
            raise ValueError(
                f"the {name} tower has no weights called {', '.join(parts)}: name others of {', '.join(NAMES)}, give a pattern such as "
                f"'*.weight' for the matrices it has ({has}), or leave this tower out"
            )
        found += here
    return found


def _blocks(full: str, p: Tensor, parts: Sequence[str], module: nn.Module) -> tuple[tuple[int, ...], int]:
    """First rows of the blocks of this parameter that were asked for, and their height; no rows where it is not one of them."""
    if p.ndim < 2 or isinstance(module, nn.Embedding):
        return (), 0
    if any(part not in NAMES and fnmatchcase(full, part) for part in parts):
        return (0,), p.shape[0]
    held = next((held for end, held in PARTS if f".{full}".endswith(end)), ())
    height = p.shape[0] // max(len(held), 1)
    return tuple(i * height for i, part in enumerate(held) if part in parts), height
