"""Start a method: write its file and its test from templates that fail until they are filled in.

python tools/new.py losses/negatives hn_nce [--paper ID]
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
import sys
from pathlib import Path

from pairwright.ledger.leaves import LEAVES
from pairwright.ledger.scan import FILL

ROOT = Path(__file__).parent.parent

CARD = """CARD = Card(
    name="{fill}",
    symbol="{symbol}",
    paper={paper},
    title={title},
    year=0,
    arxiv="",
    where="{fill}",
    equation="{fill}",
    says="{fill}",
    needs="{fill}",
    cost="{fill}",
    use_when="{fill}",
    not_when="{fill}",
)
"""

LOSS = '''"""{fill}: what it does, in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Pairs

{card}

@dataclass(frozen=True)
class {symbol}:
    """{fill}: what it does, in words that a user would search for."""

    needs: ClassVar[tuple[str, str]] = ("image", "text")
    directions: ClassVar[Literal["one", "both"]] = "both"

    def rows(self, p: Pairs) -> Float[Tensor, " b"]:
        """Loss of each row, (b,); 0 where a row has no positive."""
        raise NotImplementedError("{fill}: the equation of the card")
'''

HEAD = '''"""{fill}: what it does, in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features

{card}

@dataclass
class {symbol}:
    """{fill}: what it does, in words that a user would search for."""

    needs: ClassVar[frozenset[str]] = frozenset({{"train", "text"}})

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> {symbol}:
        raise NotImplementedError("{fill}: learn; names that end in _")

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features."""
        raise NotImplementedError("{fill}: the equation of the card")
'''

OTHER = '''"""{fill}: what it does, in one line."""

from __future__ import annotations

from pairwright.core.card import Card

{card}

class {symbol}:
    """{fill}: what it does, in words that a user would search for."""

    def __init__(self) -> None:
        raise NotImplementedError("{fill}: {leaf}. The contract is in core/contracts.py")
'''

TEST = '''"""{symbol} against an independent oracle, and its limit."""

from __future__ import annotations

import pytest

from {module} import {symbol}


def test_against_an_independent_derivation() -> None:
    pytest.fail(f"{fill}: compare {{{symbol}.__name__}} with a slow loop, a closed form or another library")


def test_limit() -> None:
    pytest.fail(f"{fill}: where does {{{symbol}.__name__}} collapse to a known method?")
'''


def create(kind: str, name: str, paper: str = "", *, root: Path = ROOT) -> tuple[Path, Path]:
    """Write the two files and return their paths; ValueError where a name or folder will not do."""
    kind = kind.strip("/")
    if kind not in LEAVES or any(leaf.startswith(kind + "/") for leaf in LEAVES):
        leaves = [leaf for leaf in LEAVES if not any(other.startswith(leaf + "/") for other in LEAVES)]
        raise ValueError(f"there is no leaf folder {kind!r}. The leaves:\n" + "\n".join(f"  {leaf:22s} {LEAVES[leaf]}" for leaf in leaves))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(f"{name!r} will not do as a file name: use lower case and underscores, like hn_nce")
    title = ""
    if paper:
        rows = json.loads((ROOT / "src/pairwright/ledger/papers.json").read_text(encoding="utf-8"))
        title = next((r["title"] for r in rows if r["id"] == paper), "")
        if not title:
            raise ValueError(
                f"the ledger has no paper {paper!r}: `pairwright find` looks for it; a paper outside the list is extra:<id>, by hand"
            )
    method = root / "src" / "pairwright" / kind / f"{name}.py"
    test = root / "tests" / kind / f"test_{name}.py"
    for path in (method, test):
        if path.exists():
            raise ValueError(f"{path} exists already")
    symbol = "".join(part.capitalize() for part in name.split("_"))
    card = CARD.format(fill=FILL, symbol=symbol, paper=json.dumps(paper or FILL), title=json.dumps(title or FILL, ensure_ascii=False))
    body = {"losses": LOSS, "heads": HEAD}.get(kind.split("/")[0], OTHER)
    module = f"pairwright.{kind.replace('/', '.')}.{name}"
    for path, text in (
        (method, body.format(fill=FILL, card=card, symbol=symbol, leaf=LEAVES[kind])),
        (test, TEST.format(fill=FILL, symbol=symbol, module=module)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return method, test


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", help="leaf folder, e.g. losses/negatives")
    parser.add_argument("name", help="file name, e.g. hn_nce")
    parser.add_argument("--paper", default="", help="id in the ledger; fills in the title")
    args = parser.parse_args(argv)
    try:
        method, test = create(args.kind, args.name, args.paper)
    except ValueError as e:
        print(e, file=sys.stderr)
        return 2
    print(
        f"written: {method.relative_to(ROOT)}\nwritten: {test.relative_to(ROOT)}\nFill in what says {FILL!r}; then make index, make test."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
