"""Peak memory of a contrastive loss beyond its features; each contestant in a process of its own.

`python -m bench.loss_memory KIND WHO B` is that process: it prints the peak and what the loss gave.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.harness import Case, Entry, Measure

B = 16_384


def child(kind: str, who: str, size: int) -> dict[str, Any]:
    """Run once on a small batch (so that libraries are loaded), then on the large one, and report the growth of the peak."""
    from bench.losses import features, step

    step(kind, who, *features(64))()
    run = step(kind, who, *features(size))
    found: dict[str, Any] = {}
    used = growth(lambda: found.update(run()))
    return {
        "bytes": used,
        "loss": float(found["loss"]),
        "scale": float(found["scale"]),
        **{f"{n}[{i}]": float(found[n][i].norm()) for n in ("image", "text") for i in (0, size // 2)},
    }


def growth(run: Callable[[], object]) -> int:
    """How far a call lifts the peak of this process above what is in use before it, in bytes."""
    with Path("/proc/self/clear_refs").open("w") as f:
        f.write("5")  # the peak starts again from what is in use now
    before = peak()
    run()
    return peak() - before


def peak() -> int:
    """Largest resident size of this process so far (Linux), in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_child(kind: str, who: str, size: int = B) -> Measure:
    def measure() -> tuple[float, Any]:
        command = [sys.executable, "-m", "bench.loss_memory", kind, who, str(size)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
        found = json.loads(out.stdout)
        return found.pop("bytes"), found

    return measure


def alone(size: int, limit: float) -> Case:
    """Ours only, at a batch that a dense loss cannot hold."""
    from bench.losses import CALLS, D

    return Case(
        name=f"loss_memory_{size}",
        title=f"CLIP loss, B = {size:,}, memory",
        inputs=f"Growth of the peak over {size} pairs of features of width {D}, forward and backward, fp32, in a process of its own.",
        cost="bytes",
        ours=Entry("pairwright", CALLS["clip", "pairwright"], in_child("clip", "pairwright", size)),
        peers=[],
        agree=same_as_nobody,
        rounds=1,
        warmups=0,
        limit=limit,
        note=f"{2 * size * D * 4 // 2**20} MiB are the gradients of the features; one B x B matrix takes {size**2 * 4 / 2**30:.0f} GiB.",
    )


def same_as_nobody(ours: Any, theirs: Any) -> str:
    raise AssertionError("there is no peer at this size")


def cases() -> Iterator[Case]:
    from bench.losses import CALLS, D, same

    for kind, title in (("clip", "CLIP"), ("siglip", "SigLIP")):
        ours, theirs = (Entry(who, CALLS[kind, who], in_child(kind, who)) for who in ("pairwright", "open_clip"))
        yield Case(
            name=f"loss_memory_{kind}",
            title=f"{title} loss, B = 16,384, memory",
            inputs=f"Growth of the peak over {B} pairs of features of width {D}, forward and backward, fp32; one process each.",
            cost="bytes",
            ours=ours,
            peers=[theirs],
            agree=same,
            rounds=1,
            warmups=0,
            bar=20.0,
            note=f"Of ours, {2 * B * D * 4 // 2**20} MiB are the gradients of the features, which every method ends with.",
        )
    yield alone(32_768, 256 * 2**20)


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
