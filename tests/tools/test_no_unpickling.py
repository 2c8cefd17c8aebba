"""Nothing is ever unpickled: by syntax tree, no module of the package can."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "pairwright"
MODULES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}


def violations(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            # the exception that a refused file raises may be caught by name; nothing that loads comes with it
            found += [(node.lineno, f"from {node.module} import {a.name}") for a in node.names if a.name != "UnpicklingError"]
        elif isinstance(node, ast.ImportFrom) and node.module in ("torch", "yaml", "numpy"):
            found += [
                (node.lineno, f"from {node.module} import {a.name}") for a in node.names if a.name in ("load", "unsafe_load", "full_load")
            ]
        elif isinstance(node, ast.Call):
            found += [(node.lineno, what) for what in (_call(node),) if what]
    return found


def _call(node: ast.Call) -> str:
    name = ast.unparse(node.func)
    keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
    if name in ("eval", "exec", "builtins.eval", "builtins.exec", "compile"):
        return name
    if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all") or name.endswith("read_pickle"):
        return name
    if name.endswith(("torch.load", "torch.jit.load", "torch.hub.load")) and keywords.get("weights_only") != "True":
        return f"{name} without weights_only=True"
    if keywords.get("allow_pickle", "False") != "False":
        return f"{name}(allow_pickle=...)"
    if name in ("__import__", "importlib.import_module", "import_module") and node.args and isinstance(node.args[0], ast.Constant):
        return name if str(node.args[0].value).split(".")[0] in MODULES else ""
    return ""


def test_the_package_cannot_unpickle() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        found += [(path.relative_to(SOURCE).as_posix(), *v) for v in violations(ast.parse(path.read_text(encoding="utf-8")))]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import numpy, joblib.memory",
        "from dill import loads",
        "from pickle import UnpicklingError, loads",
        "from torch import load",
        "eval('1')",
        "exec('1')",
        "yaml.load(f)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=flag)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "importlib.import_module('pickle')",
        "pd.read_pickle(f)",
    ],
)
def test_the_detector_detects(code: str) -> None:
    assert violations(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(f, weights_only=True)",
        "np.load(f)",
        "yaml.safe_load(f)",
        "model.eval()",
        "re.compile('x')",
        "from pickle import UnpicklingError",
        "from torch import nn",
    ],
)
def test_the_detector_spares_what_is_safe(code: str) -> None:
    assert not violations(ast.parse(code))
