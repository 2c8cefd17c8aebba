"""Where the time of a call goes, by kind of operation: what stands in the notes of a comparison."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile

KINDS = {
    "attention": ("attention",),
    "products and convolutions": ("mm", "linear", "matmul", "conv", "baddbmm", "dot"),
    "norms": ("norm",),
    "activations": ("gelu", "relu", "silu", "sigmoid", "softmax", "exp"),
    "the optimizer": ("adam", "foreach"),
    "choice and copies of rows": ("copy", "cat", "index", "gather", "scatter", "sort", "topk", "embedding", "argmax", "max"),
}
"""The first kind with a word in an operation's name takes it."""
LEAST = 0.02


def shares(run: Callable[[], Any], calls: int = 3) -> dict[str, float]:
    """Share of each kind of operation in the time of a call, largest first; below 2% it counts as the rest."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(calls):
            run()
    spent: dict[str, float] = defaultdict(float)
    for e in seen.key_averages():
        kind = next((k for k, words in KINDS.items() if any(w in e.key.lower() for w in words)), "the rest")
        spent[kind] += e.self_cpu_time_total
    total = sum(spent.values())
    small = [k for k, t in spent.items() if t < LEAST * total and k != "the rest"]
    spent["the rest"] += sum(spent.pop(k) for k in small)
    return {k: t / total for k, t in sorted(spent.items(), key=lambda item: -item[1])}


def sentence(run: Callable[[], Any], calls: int = 3) -> str:
    """The shares in words."""
    return "By profile: " + ", ".join(f"{kind} {share:.0%}" for kind, share in shares(run, calls).items()) + "."
