"""`python -m bench.adapt [SEEDS]`: does `adapt` choose as well as hindsight? Simulated regimes; writes bench/results/choice/adapt.json.

For every regime and seed the chosen committee is compared, on rows that nothing has seen, with every single candidate of the portfolio (the
best of them is known only in hindsight) and with zero-shot. The bar: within a point of the best single on average, and never below
zero-shot by more than the interval of the difference.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.features import ClassText, Features
from pairwright.core.provenance import commit, processor
from pairwright.data.world.simulate import simulate
from pairwright.evaluate.intervals import compare
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.committee import describe
from pairwright.recipes.adapt.kinds import OneOf
from pairwright.recipes.adapt.nested import Plan, finish, start
from pairwright.recipes.adapt.portfolio import ZERO_SHOT, portfolio

RESULT = Path(__file__).parent / "results" / "choice" / "adapt.json"
REGIMES: dict[str, dict[str, Any]] = {
    "good text, 1 shot": {"shots": 1, "text_noise": 0.5},
    "bad text, 1 shot": {"shots": 1, "text_noise": 3.0},
    "good text, 4 shots": {"shots": 4, "text_noise": 0.5},
    "bad text, 4 shots": {"shots": 4, "text_noise": 3.0},
    "2 shots": {"shots": 2},
    "8 shots": {"shots": 8},
    "wrong labels": {"shots": 8, "label_noise": 0.3},
    "unequal classes": {"shots": 16, "imbalance": 0.9, "text_noise": 1.5},
    "copies among the shots": {"shots": 8, "duplicates": 0.7},
    "other domain": {"shots": 4, "offset": 2.0, "gap": 1.0},
    "turned text": {"shots": 8, "rotation": 0.6},
    "nuisance": {"shots": 8, "nuisance": 3.0},
    "classes of two looks": {"shots": 8, "modes": 0.9, "within": 1.0},
    "good text, 16 shots": {"shots": 16, "text_noise": 0.5},
    "bad text, 16 shots": {"shots": 16, "text_noise": 3.0},
}


def one(name: str, seed: int) -> dict[str, Any]:
    """One regime and seed: accuracy of the choice, of zero-shot, and of every single candidate fitted on all shots."""
    sim = simulate(seed, classes=20, **REGIMES[name])
    groups = sim.truth["train"]["group"].tolist()  # copies share a group, as `adapt` finds them by their pictures
    right = lambda run, logits: (logits.argmax(1) == sim.test.y).double().numpy()
    return {"regime": name, "seed": seed, **judge(sim.train, sim.text, groups, sim.test, right, list(range(len(sim.test))))}


def judge(
    train: Features, text: ClassText, groups: Sequence[int], x: Features, right: Callable[[str, Tensor], Any], asked: Sequence[Any]
) -> dict[str, Any]:
    """The choice against every single candidate. right: (name of a run, its scores of `x`) -> the value of each answer; asked: the group
    of each row of `x`."""
    plan = Plan(portfolio(), OneOf())
    made = finish(plan, start(plan, train, text, groups).run(Clock(1e9)), groups)
    ours = right("ours", made.committee.probabilities(x))
    single = {c.label: right(c.label, c.fit(train, text).logits(x)) for c in plan.candidates}
    zero = next(single[c.label] for c in plan.candidates if c.id == ZERO_SHOT)
    gain = compare(zero, ours, asked)
    accuracy = {k: float(v.mean()) for k, v in single.items()}
    best = max(accuracy, key=accuracy.__getitem__)
    return {
        "rows": len(train),
        "chosen": describe(made.committee),
        "accuracy": float(ours.mean()),
        "zero_shot": float(zero.mean()),
        "best_single": best,
        "behind_best": accuracy[best] - float(ours.mean()),
        "below_zero_shot": gain.high is not None and gain.high < 0,
        "singles": accuracy,
    }


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean distance to the best single of each problem, to the single that is best on average, and the two bars."""
    names = found[0]["singles"]
    mean = lambda values: sum(values) / len(values)
    on_average = {n: mean([f["singles"][n] for f in found]) for n in names if all(n in f["singles"] for f in found)}
    steady = max(on_average, key=on_average.__getitem__)
    behind = mean([f["behind_best"] for f in found])
    below = sum(f["below_zero_shot"] for f in found)
    return {
        "problems": len(found),
        "accuracy": mean([f["accuracy"] for f in found]),
        "zero_shot": mean([f["zero_shot"] for f in found]),
        "behind_best_single_of_each": behind,
        "steadiest_single": steady,
        "behind_steadiest_single": on_average[steady] - mean([f["accuracy"] for f in found]),
        "below_zero_shot": below,
        "reached": behind <= 0.01 and below == 0,
    }


def main(argv: Sequence[str]) -> int:
    seeds = range(int(argv[0]) if argv else 1)
    found: list[dict[str, Any]] = []
    for seed in seeds:
        for name in REGIMES:
            start_at = time.process_time()
            found.append(one(name, seed))
            f = found[-1]
            took = time.process_time() - start_at
            print(f"{name}, seed {seed}: {f['accuracy']:.3f} ({f['chosen']}), best single {f['singles'][f['best_single']]:.3f} "
                  f"({f['best_single']}), zero-shot {f['zero_shot']:.3f}, {took:.0f} s of processor time", flush=True)  # fmt: skip
            io.write_json(RESULT, {"summary": summary(found), "commit": commit(), "processor": processor(), "problems": found})
    print(summary(found))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
