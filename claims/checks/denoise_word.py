"""GCPL: where class names say nothing, words learned by denoising a few images make the diffusion model a classifier."""

from __future__ import annotations

from claims import denoiser as D
from claims import patch_towers as P
from claims import vector_towers as T
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.denoise_word import DenoiseWord

CHECK = Check(
    id="denoise_word",
    card="prompts/denoise_word",
    claim="Words learned from 8 images a class by the denoising loss, nothing else moving, tell classes apart whose names say nothing",
    plant="16 classes of colour and shape under made-up names of two words; a diffusion model that knows colours and shapes",
    baseline="the same classifier by denoising error with the class names as they are, where learning starts",
    control="the classes under their true names, which the diffusion model knows",
    margin=0.3,
    control_margin=0.03,
)
FIRST, SECOND = ("dax", "wug", "blick", "fep"), ("zorp", "tiv", "glim", "nark")
MADE_UP = [f"{a} {b}" for a in FIRST for b in SECOND]


def fixtures() -> None:
    T.tower()
    D.model()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, diffusion, classes = T.tower(), D.model(), T.split(seed)[0][:16]
    names = MADE_UP if planted else T.named(classes)
    train = P.only(D.scenes(1000, 30_000 + 100_000 * seed), classes, shots=8)
    test = P.only(D.scenes(600, 60_000 + 100_000 * seed), classes)
    found = {}
    for arm, steps in (("ours", 50), ("baseline", 0)):
        learner = DenoiseWord(start="{}", steps=steps, lr=0.02, draws=8, seed=seed).fit(model, diffusion, names, train)
        found[arm] = accuracy(learner.logits(model, diffusion, test, chunk=300), test.y_N)
    return found
