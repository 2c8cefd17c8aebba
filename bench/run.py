"""`python -m bench.run [ONLY …]`: run the comparisons, write bench/results/*.json and render docs/benchmarks.md.

Each file beside this one with a `cases()` or `figures()` is one subject. A case that fails ends the run with its error; the others'
results stay.
"""

from __future__ import annotations

import ast
import gc
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.harness import compare
from bench.machine import describe
from bench.render import render
from pairwright.core import io

RESULTS = Path(__file__).parent / "results"


def subjects(folder: Path = Path(__file__).parent) -> list[str]:
    """The files with comparisons, read without importing them."""
    found = []
    for path in sorted(folder.glob("*.py")):
        names = {n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)}
        if names & {"cases", "figures"}:
            found.append(path.stem)
    return found


def main(only: Sequence[str], results: Path = RESULTS) -> int:
    known = subjects()
    if unknown := [name for name in only if name not in known]:
        print(f"there is no benchmark {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    machine = describe()
    print(f"{machine['processor']}, {machine['threads']} threads, peaks {machine['gemm_gflops']} GFLOP/s")
    for subject in only or known:
        module = importlib.import_module(f"bench.{subject}")
        for figure in vars(module).get("figures", tuple)():
            io.write_json(results / f"{figure.name}.json", {"subject": subject, **figure.record(), "machine": machine})
            print(f"{figure.name}: {sum(map(len, figure.series.values()))} points", flush=True)
        for case in vars(module).get("cases", tuple)():
            record = {"subject": subject, **compare(case), "machine": machine}
            io.write_json(results / f"{record['name']}.json", record)
            times = ", ".join(f"{e['name']} {e['median']:.4g}" for e in record["entries"])
            ratio = "" if record["ratio"] is None else f", {record['ratio']:.2f}x {record['best_peer']}"
            print(f"{record['name']}: {times} {record['cost']}{ratio}, reached: {record['reached']}", flush=True)
            del case
            gc.collect()
    render(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
