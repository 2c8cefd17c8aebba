"""`python -m bench.profile [sprout|vit_ti_16]`: where the time of a training step goes, printed and written to bench/profiles/NAME.json."""

from __future__ import annotations

import io as bytes_io
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image

from bench.machine import describe
from bench.train import DECAY, LR, SETUPS, Setup, batch, our_model
from pairwright.core import io
from pairwright.core.encoded import Views
from pairwright.data import views
from pairwright.data.images import pixels
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.train import optim, precision
from pairwright.train.ema import EMA
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig

OUT = Path(__file__).parent / "profiles"


class Clock:
    """Seconds of each named part, per step."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.parts[name].append(time.perf_counter() - start)

    def medians(self) -> dict[str, float]:
        return {name: median(values) for name, values in self.parts.items()}


def jpegs(s: Setup) -> list[bytes]:
    """A picture for each row, a quarter larger than the tower's input."""
    g = torch.Generator().manual_seed(0)
    side, found = s.vision["image_size"] * 5 // 4, []
    for _ in range(s.batch):
        small = torch.randint(0, 256, (8, 8, 3), generator=g, dtype=torch.uint8).numpy()
        out = bytes_io.BytesIO()
        Image.fromarray(small).resize((side, side)).save(out, "JPEG")
        found.append(out.getvalue())
    return found


def steps(s: Setup, n: int, clock: Clock) -> None:
    """The parts of a step one after another; in a run decoding and augmenting go on in threads while the step before is computed."""
    model, objective, files = our_model(s), Sum({"clip": InfoNCE()}), jpegs(s)
    model.requires_grad_(True)
    optimizer, ema = optim.adamw(model.named_parameters(), OptimConfig(LR, DECAY)), EMA(0.998)
    ema.attach(model)
    context = partial(precision.autocast, precision.choose("auto", model.device), model.device)
    _, ids = batch(s)
    side = s.vision["image_size"]
    for step in range(n):
        with clock("decode"):
            raw = torch.stack([torch.from_numpy(pixels(f, side * 5 // 4).copy()).permute(2, 0, 1) for f in files])
        with clock("augment"):
            image = views.view(raw, views.seeds(torch.arange(len(raw)), step), views.Augment(), size=side)
        encoded = {}
        for name, x in (("image", image), ("text", ids)):
            with clock(f"{name} tower, forward"), context():
                encoded[name] = model.encode(name, x)
        live = {name: e.map(lambda t: t.detach().requires_grad_(t.is_floating_point())) for name, e in encoded.items()}
        with clock("loss, forward and backward"):
            objective(model, Views(live))["loss"].backward()
        for name, e in encoded.items():
            with clock(f"{name} tower, backward"):
                e.z_BD.backward(live[name].z_BD.grad)
        with clock("clip and optimizer"):
            optim.step_if_finite(optimizer, optim.clip_gradients(optimizer, 1.0))
            optim.bound_logit_scale(model)
            optimizer.zero_grad(set_to_none=True)
        with clock("average of weights"):
            ema.after_step(model, step)


def profile(s: Setup, n: int = 6, machine: Callable[[], dict[str, Any]] = describe) -> dict[str, Any]:
    steps(s, 1, Clock())
    clock = Clock()
    steps(s, n, clock)
    seconds = clock.medians()
    total = sum(seconds.values())
    rows = {name: {"seconds": t, "share": t / total} for name, t in seconds.items()}
    return {"name": s.name, "title": s.title, "batch": s.batch, "steps": n, "seconds": total, "parts": rows, "machine": machine()}


def main(only: Sequence[str]) -> int:
    known = {s.name: s for s in SETUPS}
    if unknown := [name for name in only if name not in known]:
        print(f"there is no profile {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in only or known:
        found = profile(known[name])
        print(
            f"{found['title']}, {found['batch']} pairs: {found['seconds']:.3f} s a step, {found['batch'] / found['seconds']:.0f} samples/s"
        )
        for part, row in found["parts"].items():
            print(f"  {part:28s} {row['seconds'] * 1e3:8.1f} ms {row['share']:6.1%}")
        io.write_json(OUT / f"{name}.json", found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
