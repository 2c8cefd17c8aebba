"""Prompt learning from image features embedded once, and the usual loop, which encodes the images again in each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from bench.harness import Case, Entry, timed
from bench.twins import vit_b_32
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.models.dual import DualEncoder
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent

NAMES = ("red circle", "blue square", "green star", "pink heart", "black cross", "white moon", "grey ring", "cyan arrow")
SHOTS, EPOCHS, BATCH, TOKENS = 8, 30, 32, 4


def cases() -> Iterator[Case]:
    theirs, model = vit_b_32()
    model.requires_grad_(False)
    theirs.requires_grad_(False)
    x_N3HW = torch.randn(len(NAMES) * SHOTS, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    y_N = torch.arange(len(NAMES)).repeat(SHOTS)
    how = Descent(epochs=EPOCHS, batch=BATCH)

    def ours() -> Tensor:
        with torch.no_grad():
            train = Features(model.image(x_N3HW).z_BD, y_N, encoder=model.fingerprint)
        return CoOp(TOKENS, how=how).fit(model, NAMES, train).context_

    yield Case(
        name="prompts_cached",
        title="CoOp, few-shot prompt learning, ViT-B-32",
        inputs=f"{len(y_N)} images of 224 x 224, {len(NAMES)} classes, {EPOCHS} epochs in batches of {BATCH}, fp32.",
        cost="seconds",
        ours=Entry("pairwright", "CoOp(4).fit(model, names, features), features made once within the time", timed(ours)),
        peers=[
            Entry("usual loop", "open_clip: images and whole contexts in every step", timed(lambda: usual(theirs, model, x_N3HW, y_N, how)))
        ],
        agree=agree,
        rounds=1,
        warmups=0,
        bar=10.0,
        note="Images are embedded once, and text runs on the tokens that are there; the ratio grows with the number of epochs and with the "
        "size of the image tower.",
    )


def usual(theirs: Any, model: DualEncoder, x_N3HW: Tensor, y_N: Tensor, how: Descent) -> Tensor:
    """The loop of CoOp's trainer on open_clip's towers, without augmentation: same start, same batches, same descent as ours."""
    start = CoOp(TOKENS, how=Descent(epochs=0)).fit(model, NAMES, Features(torch.ones(1, model.width), [0]))
    ids_CL = start.ids(model, NAMES)
    ids_CL = torch.nn.functional.pad(ids_CL, (0, theirs.context_length - ids_CL.shape[1]))
    words_CLE, context_ME = theirs.token_embedding(ids_CL), start.context_.requires_grad_()
    descent = torch.optim.SGD([context_ME], 0.0, momentum=how.momentum, weight_decay=how.decay)
    for epoch, rate in enumerate(how.rates(len(y_N), SHOTS)):
        descent.param_groups[0]["lr"] = rate
        for rows in torch.randperm(len(y_N), generator=generator("prompts", 0, epoch, len(y_N))).split(BATCH):
            with torch.no_grad():
                z_BD = theirs.encode_image(x_N3HW[rows], normalize=True)
            prompt_CLE = torch.cat([words_CLE[:, :1], context_ME.expand(len(NAMES), -1, -1), words_CLE[:, 1 + TOKENS :]], 1)
            hidden_CLE = theirs.transformer(prompt_CLE + theirs.positional_embedding, attn_mask=theirs.attn_mask)
            end_CE = theirs.ln_final(hidden_CLE)[torch.arange(len(NAMES)), ids_CL.argmax(1)]
            text_CD = normalize(end_CE @ theirs.text_projection, dim=1)
            loss = cross_entropy(theirs.logit_scale.exp() * z_BD @ text_CD.T, y_N[rows])
            descent.zero_grad()
            loss.backward()
            descent.step()
    return context_ME.detach()


def agree(ours: Tensor, theirs: Tensor) -> str:
    """The learned tokens of both, to rounding."""
    away = float((ours - theirs).abs().max() / theirs.abs().max())
    assert away < 1e-2, f"the learned tokens differ by {away:.2g} of the greatest"
    return f"learned tokens differ by at most {away:.1g} of the greatest"
