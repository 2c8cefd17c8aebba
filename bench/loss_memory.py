"""Peak memory of a contrastive loss beyond its features; each contestant in a process of its own.

`python -m bench.loss_memory KIND WHO B` is that process: it prints the peak and what the loss gave.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.harness import Case, Entry, Measure

B = 16_384


def child(kind: str, who: str, size: int) -> dict[str, Any]:
    """Run once on a small batch (so that libraries are loaded), then on the large one, and report the growth of the peak."""
    from bench.losses import features, step

    step(kind, who, *features(64))()
    run = step(kind, who, *features(size))
    with Path("/proc/self/clear_refs").open("w") as f:
        f.write("5")  # the peak starts again from what is in use now
    before = peak()
    found = run()
    return {
        "bytes": peak() - before,
        "loss": float(found["loss"]),
        "scale": float(found["scale"]),
        **{f"{n}[{i}]": float(found[n][i].norm()) for n in ("image", "text") for i in (0, size // 2)},
    }


def peak() -> int:
    """Largest resident size of this process so far (Linux), in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_child(kind: str, who: str) -> Measure:
    def measure() -> tuple[float, Any]:
        command = [sys.executable, "-m", "bench.loss_memory", kind, who, str(B)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
        found = json.loads(out.stdout)
        return found.pop("bytes"), found

    return measure


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


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
