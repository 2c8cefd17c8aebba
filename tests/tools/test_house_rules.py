"""Rules that a program can check: file length, where network clients may live, what may not stand in a file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pairwright"
FILES = sorted(SOURCE.rglob("*.py"))
CLIENTS = {"urllib.request", "http.client", "requests", "httpx", "aiohttp", "ftplib", "socket", "urllib3"}
PROGRAMS = {"npm", "apt", "apt-get", "pip", "curl", "wget", "npx"}
MAY_DOWNLOAD = ("data/", "models/load/")
"""Packages come through npm and apt in data; weights through the hub's own client in models/load."""


def test_no_file_is_longer_than_300_lines() -> None:
    every = [*FILES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "tools").rglob("*.py"))]
    lengths = {p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in every}
    assert {p: n for p, n in lengths.items() if n > 300} == {}


def clients(code: str) -> list[str]:
    """Network modules that code imports, and package or download programs that it names in a call."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name in CLIENTS or a.name.split(".")[0] in CLIENTS or a.name == "huggingface_hub"]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module, node.module.split(".")[0], *(f"{node.module}.{a.name}" for a in node.names)}
            found += sorted(names & (CLIENTS | {"huggingface_hub"}))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("subprocess.", "os.system", "shutil.which", "os.exec")):
            words = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            found += [w for w in words if w.split() and w.split()[0] in PROGRAMS]
    return found


def test_network_clients_live_in_data_and_where_weights_are_loaded() -> None:
    found = {p.relative_to(SOURCE).as_posix(): clients(p.read_text(encoding="utf-8")) for p in FILES}
    assert {p: c for p, c in found.items() if c and not p.startswith(MAY_DOWNLOAD)} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import requests",
        "from urllib import request",
        "import urllib.request",
        "subprocess.run(['npm', 'pack'])",
        "os.system('curl x')",
        "shutil.which('apt-get')",
        "from huggingface_hub import snapshot_download",
    ],
)
def test_the_detector_detects(code: str) -> None:
    assert clients(code)


def test_the_detector_spares_what_is_local() -> None:
    assert clients("subprocess.run(['git', 'status'])\nfrom urllib.parse import quote\nprint('npm')") == []


def test_nothing_happens_on_import() -> None:
    """Module level holds definitions and constants: no loop, no with, no bare call."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.FunctionDef, ast.ClassDef, ast.Try)
    found = []
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            guard = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
            if not isinstance(node, allowed) and not text and not guard:
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {ast.unparse(node).splitlines()[0]}")
    assert found == []


def test_the_table_of_the_python_page_names_the_root_api() -> None:
    import re

    import pairwright as pw

    rows = re.findall(r"^\| `pw\.(\w+)", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(pw.API)


def test_collectives_live_in_core_dist_and_in_train() -> None:
    users = {p.relative_to(SOURCE).as_posix() for p in FILES if "torch.distributed" in imported(p.read_text(encoding="utf-8"))}
    assert "core/dist.py" in users
    assert {u for u in users if u != "core/dist.py" and not u.startswith("train/")} == set()


def imported(code: str) -> set[str]:
    """Modules that code imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return names
