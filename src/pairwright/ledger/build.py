"""Regenerate what follows from the cards and check results: ``python -m pairwright.ledger.build [--check]``.

It writes the method index and the exports of the method packages. With --check it writes nothing and exits 1 if a file would change. The
pages of the documentation are made from the same index when the site is built, so that they cannot drift.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pairwright.ledger.exports import export_files, orphans
from pairwright.ledger.index import index_text, read_results
from pairwright.ledger.scan import scan

ROOT = Path(__file__).parent.parent.parent.parent


def generate(root: Path = ROOT) -> tuple[dict[Path, str], list[Path], list[str]]:
    """(path -> text that it should have, files that should not be there, problems in the sources)."""
    package = root / "src" / "pairwright"
    found, problems = scan(package)
    checks = {p.stem for p in (root / "claims" / "checks").glob("*.py") if not p.stem.startswith("_")}
    text, more = index_text(found, read_results(root), checks)
    files = {package / "_index.json": text, **export_files(package, found)}
    return files, orphans(package, files), problems + more


def drift(root: Path = ROOT) -> list[str]:
    """Paths (relative to `root`) that differ from what they should be."""
    files, extra, _ = generate(root)
    wrong = [p for p, text in files.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    return [p.relative_to(root).as_posix() for p in sorted([*wrong, *extra])]


def build(root: Path = ROOT) -> tuple[list[str], list[str]]:
    """Write what differs. Returns (paths written or removed, problems in the sources)."""
    files, extra, problems = generate(root)
    wrong = drift(root)
    for name in wrong:
        path = root / name
        if path in extra:
            path.unlink()
        else:
            path.write_text(files[path], encoding="utf-8")
    return wrong, problems


def main(argv: list[str]) -> int:
    if argv not in ([], ["--check"]):
        print("usage: python -m pairwright.ledger.build [--check]", file=sys.stderr)
        return 2
    if not (ROOT / "pyproject.toml").is_file():
        print("the index is built in a checkout of the repository; an installed wheel carries it already", file=sys.stderr)
        return 2
    if argv:
        wrong, problems = drift(), generate()[2]
    else:
        wrong, problems = build()
    for name in wrong:
        print(f"{'out of date' if argv else 'written'}: {name}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if argv and wrong:
        print("run `make index` and commit the result", file=sys.stderr)
    return 1 if problems or (argv and wrong) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
