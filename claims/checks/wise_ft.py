"""WiSE-FT: half way back to the zero-shot weights, other styles and other classes are right again."""

from __future__ import annotations

import torch

from claims import tuning as P
from claims import vector_towers as T
from pairwright.core.numerics import generator
from pairwright.ledger.check import Check
from pairwright.merge.interpolate import Interpolate
from pairwright.merge.weights import merge_states
from pairwright.models.dual import DualEncoder
from pairwright.recipes._fine_tune import image_tower

CHECK = Check(
    id="wise_ft",
    card="merge/interpolate",
    claim="Half way between zero-shot and fine-tuned weights, accuracy on other styles and classes is above that of the fine-tuned model.",
    plant="the image tower is fine-tuned on one style of 32 classes; tested on other styles and on the other 32 classes",
    baseline="the fine-tuned model",
    control="the fine-tuned model with its hidden units in another order: the same function, but not near the start in weight space",
    margin=0.02,
    control_margin=0.005,
    metric="mean of the accuracies on two other styles and on untouched classes in the style of the training",
)
NOISE, STEPS = 1.5, 150


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    base, new = T.split(seed)
    start, tuned, known, shift = fine_tuned(seed, base, new)
    if not planted:
        shuffle(tuned, seed)
    half = P.tower()
    half.load_state_dict(merge_states(Interpolate(0.5), start.state_dict(), [tuned.state_dict()]))
    score = lambda model, parts: sum(P.accuracy(model, rows, names) for names, rows in parts) / len(parts)
    found = {"ours": score(half, shift), "baseline": score(tuned, shift), "zero_shot": score(start, shift)}
    return {**found, "in distribution": score(half, known), "fine-tuned in distribution": score(tuned, known)}


def fine_tuned(seed: int, base: torch.Tensor, new: torch.Tensor) -> tuple[DualEncoder, DualEncoder, list, list]:
    """The start, its fine-tuned copy, test parts like the training data, and test parts that are unlike it."""
    style = lambda k: 2.5 * T.direction("style", seed, k)
    train = P.only(P.scenes(1600, 30_000 + 10_000 * seed, style(0), NOISE), base, shots=16)
    shown = lambda k, classes: (T.named(classes), P.only(P.scenes(800, 500_000 + 10_000 * seed, style(k), NOISE), classes))
    tuned = P.tower()
    text_CD = tuned.text(tuned.tokenizer([P.PROMPT.format(n) for n in T.named(base)])).z_BD
    head = float(tuned.scale) * text_CD, torch.zeros(len(base))
    P.tune(tuned, train, None, 2e-3, STEPS, head=head, learn_head=False, seed=seed, trainable=image_tower)
    return P.tower(), tuned, [shown(0, base)], [shown(1, base), shown(2, base), shown(0, new)]


@torch.no_grad()
def shuffle(model: DualEncoder, seed: int) -> None:
    """Put the hidden units of every feed-forward layer of the image tower in another order: no output changes."""
    for i, block in enumerate(model.towers["image"].resblocks):
        order = torch.randperm(block.mlp.c_fc.out_features, generator=generator("hidden units", seed, i))
        block.mlp.c_fc.weight.copy_(block.mlp.c_fc.weight[order])
        block.mlp.c_fc.bias.copy_(block.mlp.c_fc.bias[order])
        block.mlp.c_proj.weight.copy_(block.mlp.c_proj.weight[:, order])
