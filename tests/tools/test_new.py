"""`make new`: one command, two files, which fail until they are filled in and pass afterwards."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pairwright.ledger.leaves import LEAVES
from pairwright.ledger.scan import FILL, scan

ROOT = Path(__file__).parents[2]


def load_tool():
    spec = importlib.util.spec_from_file_location("new_method", ROOT / "tools" / "new.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


new = load_tool()
LEAF = [k for k in LEAVES if not any(o.startswith(k + "/") for o in LEAVES)]


@pytest.mark.parametrize("kind", LEAF)
def test_every_leaf_has_a_template_that_the_scan_refuses_until_it_is_filled(kind: str, tmp_path: Path) -> None:
    method, test = new.create(kind, "hn_nce", root=tmp_path)
    assert method == tmp_path / "src/pairwright" / kind / "hn_nce.py"
    assert test == tmp_path / "tests" / kind / "test_hn_nce.py"
    ast.parse(test.read_text())
    package = tmp_path / "src" / "pairwright"
    found, problems = scan(package)
    assert found == []
    assert [FILL in p for p in problems] == [True]
    method.write_text(method.read_text().replace(FILL, "words"))
    (one,), problems = scan(package)
    assert problems == []
    assert (one.id, one.symbol) == (f"{kind}/hn_nce", "HnNce")


def test_the_files_are_in_style(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for kind in ("losses/negatives", "heads/linear", "merge"):
        new.create(kind, "hn_nce", root=tmp_path)
    (tmp_path / "src/pairwright/core").mkdir()
    for name in ("__init__", "core/__init__", "core/card", "core/encoded", "core/features"):  # so that they count as our own
        (tmp_path / f"src/pairwright/{name}.py").touch()
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout


def test_the_generated_test_fails_until_it_is_written(tmp_path: Path) -> None:
    method, test = new.create("merge", "hn_nce", root=tmp_path)
    code = test.read_text().replace("from pairwright.merge.hn_nce import HnNce", method.read_text())
    alone = tmp_path / "test_alone.py"
    # the future import has to stand first, and stands in both
    alone.write_text("from __future__ import annotations\n" + code.replace("from __future__ import annotations\n", ""))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", str(alone)], capture_output=True, text=True, cwd=tmp_path)
    assert "2 failed" in done.stdout


def test_the_title_comes_from_the_ledger(tmp_path: Path) -> None:
    method, _ = new.create("heads/cache", "cafo", "cafo", root=tmp_path)
    assert 'title="Prompt, Generate, then Cache: Cascade of Foundation Models makes Strong Few-shot Learners"' in method.read_text()


@pytest.mark.parametrize(
    ("kind", "name", "paper", "complaint"),
    [
        ("losses", "x", "", "losses/negatives"),
        ("nonsense", "x", "", "no leaf folder 'nonsense'"),
        ("merge", "HN-NCE", "", "lower case"),
        ("merge", "class", "", "lower case"),
        ("merge", "x", "no-such-paper", "no paper 'no-such-paper'"),
    ],
)
def test_refusals(kind: str, name: str, paper: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        new.create(kind, name, paper, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new.create("merge", "hn_nce", root=tmp_path)
    with pytest.raises(ValueError, match="exists already"):
        new.create("merge", "hn_nce", root=tmp_path)
    assert new.main(["nonsense", "x"]) == 2
    assert "no leaf folder" in capsys.readouterr().err
