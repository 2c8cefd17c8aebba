"""Read every `CARD = Card(...)` literal under the package by AST, importing nothing."""

from __future__ import annotations

import ast
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pairwright.core.card import Card

PACKAGE = Path(__file__).parent.parent
FILL = "FILL IN"
"""Stands in the templates of `make new` wherever something has to be written."""
_REQUIRED = tuple(f.name for f in fields(Card) if f.default is MISSING)
_FIELDS = {f.name: str(f.type) for f in fields(Card)}


@dataclass(frozen=True)
class Found:
    """One scanned file: the static half of an index entry."""

    id: str
    kind: str
    file: str
    module: str
    symbol: str
    summary: str
    signature: str
    card: dict[str, Any]


def scan(package: Path = PACKAGE) -> tuple[list[Found], list[str]]:
    """All mechanisms, sorted by id, and the problems found on the way (``path:line: what is wrong and how to mend it``)."""
    found, problems = [], []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        text = path.read_text(encoding="utf-8")
        if "CARD" not in text:
            continue
        try:
            tree = ast.parse(text)
        except SyntaxError as e:
            problems.append(f"{file}:{e.lineno}: {e.msg}")
            continue
        node = card_node(tree)
        if node is None:
            continue
        try:
            found.append(_one(file, tree, node))
        except ValueError as e:
            problems.append(f"{file}:{node.lineno}: {e}")
    return found, problems + _clashes(found)


def card_node(tree: ast.Module) -> ast.Assign | None:
    """The module-level ``CARD = Card(...)`` of a file, if it has one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", None) for t in node.targets] == ["CARD"]:
            return node
    return None


def read_card(node: ast.Assign) -> dict[str, Any]:
    """The literal fields of a card; ValueError where it is not a plain literal."""
    call = node.value
    if not (isinstance(call, ast.Call) and getattr(call.func, "id", None) == "Card"):
        raise ValueError("CARD must be one literal call, `CARD = Card(...)`")
    if call.args or any(k.arg is None for k in call.keywords):
        raise ValueError("give every field of Card by keyword")
    values = {}
    for keyword in call.keywords:
        name = str(keyword.arg)
        try:
            value = ast.literal_eval(keyword.value)
        except ValueError:
            raise ValueError(f"Card field {name!r} is not a plain literal (no names, calls or f-strings)") from None
        values[name] = _checked(name, value)
    missing = [n for n in _REQUIRED if n not in values]
    if missing:
        raise ValueError(f"the card lacks {', '.join(missing)}")
    return asdict(Card(**values))


def _checked(name: str, value: Any) -> Any:
    if name not in _FIELDS:
        raise ValueError(f"Card has no field {name!r}; it has {', '.join(_FIELDS)}")
    kind = _FIELDS[name]
    if kind.startswith("tuple"):
        ok = isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    else:
        ok = isinstance(value, int if kind == "int" else str)
    if not ok:
        raise ValueError(f"Card field {name!r} must be {kind}, got {value!r}")
    return value


def _one(file: str, tree: ast.Module, node: ast.Assign) -> Found:
    card = read_card(node)
    id_ = file.removesuffix(".py")
    symbol = card["symbol"]
    definition = next((n for n in tree.body if getattr(n, "name", None) == symbol), None)
    if not isinstance(definition, ast.ClassDef | ast.FunctionDef):
        raise ValueError(f"the card names the symbol {symbol!r}, but the file has no class or function of that name")
    summary = first_line(ast.get_docstring(definition)) or first_line(ast.get_docstring(tree))
    if FILL in summary or any(FILL in str(value) for value in card.values()):
        raise ValueError(f"the card or the docstring still says {FILL!r}")
    if not summary:
        raise ValueError(f"{symbol} has no docstring: its first line is what `pairwright find` prints")
    return Found(
        id=id_,
        kind=id_.rpartition("/")[0],
        file=file,
        module="pairwright." + id_.replace("/", "."),
        symbol=symbol,
        summary=summary,
        signature=_signature(definition),
        card=card,
    )


def first_line(docstring: str | None) -> str:
    """The first sentence or line of a docstring."""
    return (docstring or "").strip().split("\n", 1)[0].strip()


def _signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    """``Name(args)``: the constructor's arguments, a dataclass's fields, or the function's own."""
    if isinstance(node, ast.FunctionDef):
        return f"{node.name}({ast.unparse(node.args)})"
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is not None:
        args = ast.unparse(init.args)
        return f"{node.name}({args.removeprefix('self').removeprefix(', ')})"
    own = [ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign) and n.simple and "ClassVar" not in ast.unparse(n.annotation)]
    return f"{node.name}({', '.join(own) if any('dataclass' in ast.unparse(d) for d in node.decorator_list) else ''})"


def _clashes(found: list[Found]) -> list[str]:
    """Two mechanisms of one group may not share a symbol: `pairwright.heads.X` has to mean one thing."""
    seen: dict[tuple[str, str], str] = {}
    problems = []
    for f in found:
        key = (f.kind.split("/")[0], f.symbol)
        if key in seen:
            problems.append(f"{f.file}:1: the symbol {f.symbol} is also defined by {seen[key]}: rename one")
        seen.setdefault(key, f.file)
    return problems
