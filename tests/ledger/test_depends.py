"""A hash of meaning: what cannot change a figure does not change it, what can does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairwright.ledger.depends import changed, depends, hash_code, imported

CODE = '"""Doc."""\n\n\ndef f(x, y=(1, 2)):\n    """Says."""\n    return [x + 1, "a", y]\n'


def digest(tmp_path: Path, text: str) -> str:
    file = tmp_path / "f.py"
    file.write_text(text)
    return hash_code(file)


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("Says", "Says otherwise"),
        CODE.replace('"""Doc."""', "# a comment"),
        CODE.replace("[x + 1,", "[  # plus one\n        x+1,").replace('"a"', "'a'"),
        CODE.replace('    """Says."""\n', ""),
        CODE.replace("(1, 2)", "(\n    1,\n    2,\n)"),
        CODE + '\nCARD = Card(name="any words")\n',
    ],
)
def test_blind_to_looks(tmp_path: Path, same: str) -> None:
    assert digest(tmp_path, same) == digest(tmp_path, CODE)


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("x + 1", "x - 1"),
        CODE.replace("1, 2", "1, 3"),
        CODE.replace("1, 2", "1, 2.0"),
        CODE.replace("y=(1, 2)", "y=(1, 2), *z"),
        CODE.replace('"a"', 'b"a"'),
        CODE.replace("return [x + 1", "return [1 + x"),
        CODE.replace("def f", "@cache\ndef f"),
    ],
)
def test_sees_what_counts(tmp_path: Path, other: str) -> None:
    assert digest(tmp_path, other) != digest(tmp_path, CODE)


def test_follows_imports_to_any_depth_and_leaves_declarations_out(checkout: Path) -> None:
    package = checkout / "src/pairwright"
    (package / "core/deep.py").write_text("X = 1\n")
    helper = package / "core/helper.py"
    helper.write_text("from pairwright.core import deep\n\ndef double(x):\n    import pairwright.core.later\n    return 2 * x * deep.X\n")
    (package / "core/later.py").write_text("import pairwright.core.helper\n")
    files = {p.relative_to(package).as_posix() for p in imported(package, package / "heads/linear/nearest_mean.py")}
    assert files == {"core/helper.py", "core/deep.py", "core/later.py"}


def test_changed_names_the_files(checkout: Path) -> None:
    method, check = checkout / "src/pairwright/heads/linear/nearest_mean.py", checkout / "claims/checks/nearest_mean.py"
    recorded = depends(checkout, method, check)
    assert set(recorded) == {
        "src/pairwright/heads/linear/nearest_mean.py",
        "claims/checks/nearest_mean.py",
        "src/pairwright/core/helper.py",
    }
    assert changed(checkout, recorded) == []
    helper = checkout / "src/pairwright/core/helper.py"
    helper.write_text(helper.read_text().replace("2 * x", "3 * x"))
    assert changed(checkout, recorded) == ["src/pairwright/core/helper.py"]
    helper.unlink()
    assert changed(checkout, recorded) == ["src/pairwright/core/helper.py"]


def test_the_ground_that_checks_share_counts_and_files_that_only_store_do_not(checkout: Path) -> None:
    method, check = checkout / "src/pairwright/heads/linear/nearest_mean.py", checkout / "claims/checks/nearest_mean.py"
    (checkout / "claims/ground.py").write_text("from claims import deeper\n")
    (checkout / "claims/deeper.py").write_text("NOISE = 1\n")
    check.write_text("from claims import ground as G\n" + check.read_text())
    recorded = depends(checkout, method, check)
    assert {"claims/ground.py", "claims/deeper.py"} <= set(recorded)
    (checkout / "claims/deeper.py").write_text("NOISE = 2\n")
    assert changed(checkout, recorded) == ["claims/deeper.py"]
    assert changed(checkout, {"src/pairwright/core/io.py": "another hash, or a file that is gone"}) == []
