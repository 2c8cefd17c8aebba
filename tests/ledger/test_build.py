"""Generated files: written once, then still; drift is named; what people wrote by hand is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pairwright.core.index import entries
from pairwright.ledger.build import build, drift, generate
from pairwright.ledger.exports import MARK
from pairwright.ledger.leaves import EXPORTED


def test_build_then_no_drift(checkout: Path) -> None:
    package = checkout / "src/pairwright"
    written, problems = build(checkout)
    assert problems == []
    assert "src/pairwright/_index.json" in written
    assert drift(checkout) == []
    assert "from pairwright.heads.linear.nearest_mean import NearestMean as NearestMean" in (package / "heads/__init__.pyi").read_text()
    assert "from pairwright.models.load import load as load" in (package / "__init__.pyi").read_text()

    (package / "heads/linear/__init__.py").write_text(MARK + "\nchanged = True\n")
    assert drift(checkout) == ["src/pairwright/heads/linear/__init__.py"]
    (package / "heads/linear/__init__.py").write_text('"""By hand."""\n')
    # a hand-written package is left alone, and no stub may hide its names
    assert drift(checkout) == ["src/pairwright/heads/linear/__init__.pyi"]

    (package / "heads/linear/nearest_mean.py").write_text("X = 1\n")
    (checkout / "claims/checks/nearest_mean.py").unlink()
    build(checkout)
    assert not (package / "heads/__init__.pyi").exists()
    assert drift(checkout) == []


def test_this_repository_has_no_drift_and_no_problems() -> None:
    _, _, problems = generate()
    assert problems == []
    assert drift() == []


def test_every_symbol_of_the_index_is_exported_and_loads() -> None:
    import pairwright as pw

    for e in entries():
        group = e.kind.split("/")[0]
        assert e.load().__module__ == e.module
        # where a function is named like its own file, the package's attribute is the module, whatever was imported first
        if group in EXPORTED and e.id != f"{group}/{e.symbol}":
            assert getattr(getattr(pw, group), e.symbol) is e.load()
            assert e.symbol in dir(getattr(pw, group))


def test_the_root_names_resolve_and_clash_with_no_subpackage() -> None:
    import pairwright as pw

    for name in pw.API:
        assert getattr(pw, name) is not None
        assert not (Path(pw.__file__).parent / name).is_dir()


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, time; t = time.process_time(); import pairwright; t = time.process_time() - t\n"
    code += "assert not {'torch', 'numpy', 'PIL', 'pyarrow'} & set(sys.modules), 'heavy'\nprint(t)"
    times = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    assert min(times) < 0.3
