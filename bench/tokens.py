"""What merging tokens saves and what it costs: operations of common towers, time of one of them, accuracy of a small trained one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from bench.harness import Case, Entry, Figure, timed
from bench.where import sentence
from pairwright.compress.cost import cost
from pairwright.compress.tokens.pitome import PiToMe
from pairwright.compress.tokens.random_drop import RandomDrop
from pairwright.compress.tokens.tome import ToMe
from pairwright.models.towers.vit import VisionTransformer

SHARES = (1.0, 0.975, 0.95, 0.925, 0.9, 0.85, 0.8)
TOWERS = {
    "ViT-B/32": {"patch": 32, "width": 768, "layers": 12, "heads": 12, "dim": 512},
    "ViT-B/16": {"patch": 16, "width": 768, "layers": 12, "heads": 12, "dim": 512},
    "ViT-L/14": {"patch": 14, "width": 1024, "layers": 24, "heads": 16, "dim": 768},
}
N = 4


def cases() -> Iterator[Case]:
    torch.manual_seed(0)
    tower = VisionTransformer(size=224, **TOWERS["ViT-B/16"]).eval()
    x = torch.randn(N, 3, 224, 224)
    for reduce, name in ((ToMe(13), "ToMe, 13 a block"), (PiToMe(share=0.9), "PiToMe, 90% a block")):
        saved = cost(tower).flops / cost(tower, reduce).flops
        run = lambda r=None: timed(torch.inference_mode()(lambda: tower(x, reduce=r).z_BD))
        yield Case(
            name=f"tokens_{type(reduce).__name__.lower()}",
            title=f"Image tower, ViT-B/16, {name}",
            inputs=f"{N} images of 224 x 224 in one batch, fp32. By count, {saved:.2f} times fewer operations.",
            cost="seconds",
            ours=Entry("merging", f"tower(x, reduce={reduce})", run(reduce)),
            peers=[Entry("all tokens", "tower(x)", run())],
            agree=lambda ours, theirs: f"mean cosine {float((ours * theirs).sum(1).mean()):.3f} with random weights, which says nothing",
            rounds=5,
            bar=1.5,
            work=N * cost(tower, reduce).flops,
            note="What merging costs in accuracy is asked of a trained tower below. "
            + sentence(torch.inference_mode()(lambda reduce=reduce: tower(x, reduce=reduce))),
        )


def figures() -> Iterator[Figure]:
    towers = {name: VisionTransformer(size=224, **more) for name, more in TOWERS.items()}
    yield Figure(
        name="tokens_flops",
        title="Operations of image towers against tokens kept",
        x="share of the patches kept in each block",
        y="GFLOP for an image of 224 x 224",
        series={name: [(s, cost(t, PiToMe(share=s)).flops / 1e9) for s in SHARES] for name, t in towers.items()},
        note="By count, the same for ToMe and PiToMe at equal shares. Cost falls with the number of tokens.",
    )
    del towers
    yield Figure(
        name="tokens_accuracy",
        title="Accuracy of a small trained tower against tokens kept",
        x="share of the operations left",
        y="zero-shot accuracy on generated scenes",
        series=accuracy(),
        inputs="A vision transformer of 64 patches trained on the generated world, reduced without training; 2,000 new scenes, 64 classes.",
        note="Random dropping takes its share in the first block, merging takes a share in every block: compare at equal operations.",
    )


def accuracy() -> dict[str, list[tuple[float, float]]]:
    from claims.fixtures import inputs, tower
    from pairwright.data.world import vocabulary as V
    from pairwright.data.world.engine import World

    world = World(0, size=64, objects=1, shapes=8, colours=8)
    model = tower(world, image="vit", samples=40_000)
    names = [f"{c} {s}" for s in tuple(V.SHAPES)[:8] for c in tuple(V.COLOURS)[:8]]
    batch = world.sample(2000, 10**8)
    y_N = torch.from_numpy(batch.facts.shape_NO[:, 0] * 8 + batch.facts.colour_NO[:, 0])
    x, vit = inputs(model, batch.images), model.towers["image"]

    @torch.inference_mode()
    def point(reduce: Any) -> tuple[float, float]:
        text = model.text(model.tokenizer(names)).z_BD
        z = torch.cat([model.image(part, reduce=reduce).z_BD for part in x.split(250)])
        right = float((z @ text.T).argmax(1).eq(y_N).float().mean())
        return round(cost(vit, reduce).flops / cost(vit, ToMe(0)).flops, 4), right

    kinds = {"ToMe": lambda s: ToMe(None, s), "PiToMe": lambda s: PiToMe(share=s), "random dropping": lambda s: RandomDrop(1 - s**2)}
    return {name: [point(make(s)) for s in SHARES] for name, make in kinds.items()}
