"""The scan finds every literal card, and refuses what is not one with the place and the reason."""

from __future__ import annotations

import ast
from dataclasses import asdict
from pathlib import Path

import pytest

from pairwright.ledger.scan import PACKAGE, scan


def test_finds_the_method_with_its_signature_and_first_line(checkout: Path) -> None:
    found, problems = scan(checkout / "src" / "pairwright")
    assert problems == []
    (one,) = found
    assert (one.id, one.kind, one.module) == ("heads/linear/nearest_mean", "heads/linear", "pairwright.heads.linear.nearest_mean")
    assert one.summary == "Classify by the nearest class mean."
    assert one.signature == "NearestMean(shrink: float=0.5)"
    assert one.card["year"] == 2020
    assert one.card["aliases"] == ()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name="Nearest Mean"', "name=str(3)", "'name' is not a plain literal"),
        ('name="Nearest Mean"', 'name=f"{1}"', "'name' is not a plain literal"),
        ("year=2020", 'year="2020"', "'year' must be int"),
        ('checks=("mechanism:nearest_mean",)', 'checks=("mechanism:nearest_mean")', "'checks' must be tuple"),
        ('where="Eq. 1",', "", "lacks where"),
        ('where="Eq. 1"', 'where="Eq. 1", colour="red"', "no field 'colour'"),
        ('symbol="NearestMean"', 'symbol="Nearest"', "no class or function of that name"),
        ('    """Classify by the nearest class mean."""\n', "", None),
        ("CARD = Card(", "CARD = dict(", "one literal call"),
    ],
)
def test_refuses(checkout: Path, old: str, new: str, complaint: str | None) -> None:
    file = checkout / "src/pairwright/heads/linear/nearest_mean.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    found, problems = scan(checkout / "src" / "pairwright")
    if complaint is None:
        assert found[0].summary == "Class means."
        return
    assert found == []
    assert len(problems) == 1
    assert problems[0].startswith("heads/linear/nearest_mean.py:")
    assert complaint in problems[0]


def test_one_symbol_means_one_thing_in_a_group(checkout: Path) -> None:
    source = checkout / "src/pairwright/heads/linear/nearest_mean.py"
    (source.parent.parent / "cache").mkdir()
    (source.parent.parent / "cache" / "other.py").write_text(source.read_text())
    assert "NearestMean is also defined by heads/cache/other.py" in scan(checkout / "src" / "pairwright")[1][0]


def test_the_cards_read_by_ast_are_the_cards_that_python_sees() -> None:
    found, _ = scan()
    assert found
    for f in found:
        tree = ast.parse((PACKAGE / f.file).read_text())
        source = next(ast.unparse(n) for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "CARD")
        names: dict[str, object] = {}
        from pairwright.core.card import Card

        exec(source, {"Card": Card}, names)
        assert asdict(names["CARD"]) == f.card
