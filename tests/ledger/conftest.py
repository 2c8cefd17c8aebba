"""A checkout in miniature: a package with one method, its check, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

CARD = """
CARD = Card(
    name="Nearest Mean",
    symbol="NearestMean",
    paper="cafo",
    title="A paper",
    year=2020,
    arxiv="2001.00001",
    where="Eq. 1",
    equation="m_c = mean z",
    says="it works",
    needs="features",
    cost="none",
    use_when="few labels",
    not_when="no labels",
    checks=("mechanism:nearest_mean",),
)
"""
METHOD = f'''"""Class means."""

from pairwright.core.card import Card
from pairwright.core.helper import double
{CARD}

class NearestMean:
    """Classify by the nearest class mean."""

    def __init__(self, shrink: float = 0.5) -> None:
        self.shrink = double(shrink)
'''
CHECK = """
from pairwright.ledger.check import Check

CHECK = Check(
    id="nearest_mean", card="heads/linear/nearest_mean", claim="it beats chance", plant="clusters", baseline="chance",
    control="no clusters", margin=0.1, control_margin=0.02, seeds=4, need=3, limit_seconds=20,
)


def arms(seed, planted):
    print("noise on stdout must not disturb the runner")
    return {"ours": 0.5 + (0.2 + seed / 100 if planted else 0.01), "baseline": 0.5}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "pairwright"
    for name, text in {
        "__init__.py": 'API = {"load": "pairwright.models.load:load"}\n',
        "core/__init__.py": "",
        "core/card.py": "class Card: ...\n",
        "core/helper.py": '"""Helps."""\n\n\ndef double(x):\n    """Twice."""\n    return 2 * x\n',
        "heads/linear/nearest_mean.py": METHOD,
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    checks = tmp_path / "claims" / "checks"
    checks.mkdir(parents=True)
    (checks / "nearest_mean.py").write_text(CHECK)
    return tmp_path
