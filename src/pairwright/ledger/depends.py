"""What a check's result depends on, as hashes of meaning: code without comments, formatting, docstrings and cards."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from pairwright.ledger.scan import card_node

UNCOUNTED = frozenset({"core/card.py", "core/contracts.py", "core/io.py"})
"""Pure declarations, and the reading and writing of files, which tests hold to the bit: no figure depends on them."""


def depends(root: Path, method: Path, check: Path) -> dict[str, str]:
    """path (relative to `root`) -> hash: a method file and what it imports of the package, its check file and the ground that it shares
    with other checks (what it imports of ``claims``), at any depth."""
    files = {method, check, *imported(root / "src" / "pairwright", method), *imported(root / "claims", check)}
    return {p.relative_to(root).as_posix(): hash_code(p) for p in sorted(files)}


def changed(root: Path, recorded: dict[str, str]) -> list[str]:
    """The recorded paths whose code differs now or which are gone."""
    counted = {p: digest for p, digest in recorded.items() if p.removeprefix("src/pairwright/") not in UNCOUNTED}
    return [path for path, digest in counted.items() if not (root / path).is_file() or hash_code(root / path) != digest]


def imported(package: Path, file: Path) -> set[Path]:
    """Files of the package that `file` imports, directly or through others, wherever in a file the import stands."""
    seen: set[Path] = set()
    todo = [file]
    while todo:
        for path in _direct(package, todo.pop()):
            if path not in seen and path.relative_to(package).as_posix() not in UNCOUNTED:
                seen.add(path)
                todo.append(path)
    return seen - {file}


def _direct(package: Path, file: Path) -> set[Path]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        head, _, rest = name.partition(".")
        if head == package.name and rest:
            path = package / f"{rest.replace('.', '/')}.py"
            found |= {path} if path.is_file() else set()
    return found


def hash_code(path: Path) -> str:
    """sha256 over the syntax tree, the same under every Python version, blind to comments, formatting, docstrings and `CARD`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    card = card_node(tree)
    if card is not None:
        tree.body.remove(card)
    digest = hashlib.sha256()
    _feed(tree, digest.update)
    return digest.hexdigest()[:16]


def _feed(node: object, put) -> None:
    if isinstance(node, ast.AST):
        put(f"({type(node).__name__}".encode())
        docstring = _docstring(node)
        for name, value in ast.iter_fields(node):
            # ctx follows from position; empty fields differ between Python versions
            if name in ("ctx", "kind", "type_comment") or value is None or value == []:
                continue
            put(f" {name}=".encode())
            _feed([v for v in value if v is not docstring] if name == "body" and isinstance(value, list) else value, put)
        put(b")")
    elif isinstance(node, list):
        for item in node:
            _feed(item, put)
            put(b",")
    else:
        put(f"{type(node).__name__}:{node!r}".encode())


def _docstring(node: ast.AST) -> ast.stmt | None:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            return first
    return None
