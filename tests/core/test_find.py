"""`find`: every name of every method leads to it, misspellings too, and nonsense to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairwright.core import index as index_module
from pairwright.core.find import find, names_of, plain
from pairwright.core.index import entries
from pairwright.ledger.build import build

EVERY = entries()


@pytest.mark.parametrize("e", EVERY, ids=lambda e: e.id)
def test_each_of_its_names_leads_to_a_method(e) -> None:
    for name in (*names_of(e), e.card.name.upper(), e.card.title):
        assert e.id in [f.id for f in find(name, limit=len(EVERY))]
    if e.card.arxiv:
        assert {f.id for f in find(e.card.arxiv, limit=len(EVERY))} == {f.id for f in EVERY if f.card.arxiv == e.card.arxiv}
    assert find(e.id)[0].id == e.id


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("tip adapter", "heads/cache/tip_adapter"),
        ("Tip-Adapter", "heads/cache/tip_adapter"),
        ("tip adaptr", "heads/cache/tip_adapter"),
        ("TIPADAPTER", "heads/cache/tip_adapter"),
        ("gda", "heads/linear/gda"),
        ("infonce", "losses/contrast/info_nce"),
        ("siglip", "losses/contrast/sigmoid"),
    ],
)
def test_usual_names(query: str, first: str) -> None:
    assert find(query)[0].id == first


def test_nonsense_finds_nothing_and_nothing_is_refused() -> None:
    assert find("xqzzyk") == []
    with pytest.raises(ValueError, match="nothing to look for"):
        find(" - ")


def test_plain() -> None:
    assert plain("Tip-Adapter_F (2021)") == "tipadapterf2021"


def test_entries_by_prefix() -> None:
    assert {e.kind for e in entries("heads/linear")} == {"heads/linear"}
    assert entries("heads/lin") == []
    assert [e.id for e in entries("heads/linear/gda")] == ["heads/linear/gda"]
    assert len(entries()) == len(EVERY)


def test_a_rebuilt_index_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "pairwright"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(index_module, "INDEX", package / "_index.json")
    with pytest.raises(FileNotFoundError, match=r"pairwright\.ledger\.build"):
        entries()
    build(tmp_path)
    assert entries() == []
