"""Prompt learning from cached image features, and the usual loop that encodes the images again in each step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench.harness import Case, Entry, timed
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent

NAMES = ("red circle", "blue square", "green star", "pink heart", "black cross", "white moon", "grey ring", "cyan arrow")
SHOTS, EPOCHS, BATCH, TOKENS = 8, 15, 32, 4


def cases() -> Iterator[Case]:
    model = tiny(0, image="vit", size=64, patch=8, width=128, layers=6).requires_grad_(False)
    x_N3HW = torch.randn(len(NAMES) * SHOTS, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    y_N = torch.arange(len(NAMES)).repeat(SHOTS)
    how = Descent(epochs=EPOCHS, batch=BATCH)

    def cached() -> Tensor:
        with torch.no_grad():
            train = Features(model.image(x_N3HW).z_BD, y_N, encoder=model.fingerprint)
        return CoOp(TOKENS, how=how).fit(model, NAMES, train).context_

    def again() -> Tensor:
        start = CoOp(TOKENS, how=Descent(epochs=0)).fit(model, NAMES, Features(torch.ones(1, model.width), [0]))
        ids_CL, context_ME = start.ids(model, NAMES), start.context_.requires_grad_()
        descent = torch.optim.SGD([context_ME], 0.0, momentum=how.momentum, weight_decay=how.decay)
        for epoch, rate in enumerate(how.rates(len(y_N), SHOTS)):
            descent.param_groups[0]["lr"] = rate
            for rows in torch.randperm(len(y_N), generator=generator("prompts", 0, epoch, len(y_N))).split(BATCH):
                with torch.no_grad():
                    z_BD = model.image(x_N3HW[rows]).z_BD
                text_CD = model.text_with(ids_CL, context_ME.expand(len(NAMES), -1, -1), 1).z_BD
                loss = cross_entropy(model.scale * z_BD @ text_CD.T, y_N[rows])
                descent.zero_grad()
                loss.backward()
                descent.step()
        return context_ME.detach()

    yield Case(
        name="prompts_cached",
        title="CoOp, few-shot prompt learning on a small ViT",
        inputs=f"{len(y_N)} images of 64 pixels, {len(NAMES)} classes, {EPOCHS} epochs in batches of {BATCH}, 6 blocks of width 128, fp32.",
        cost="seconds",
        ours=Entry("pairwright", "CoOp(4).fit(model, names, features), features made once within the time", timed(cached)),
        peers=[Entry("usual loop", "model.image(batch), text tower, backward, step", timed(again))],
        agree=agree,
        rounds=3,
        bar=3.0,
        note="Images are embedded once, and text runs on the tokens that are there; the ratio grows with the number of epochs.",
    )


def agree(ours: Tensor, theirs: Tensor) -> str:
    """The learned tokens of both, to rounding."""
    away = float((ours - theirs).abs().max() / theirs.abs().max())
    assert away < 1e-2, f"the learned tokens differ by {away:.2g} of the greatest"
    return f"learned tokens differ by at most {away:.1g} of the greatest"
