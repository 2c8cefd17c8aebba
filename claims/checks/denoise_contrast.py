"""CoMPLe: does pushing the noise predicted for a class from those of other classes make words that tell classes apart more?"""

from __future__ import annotations

from claims import denoiser as D
from claims import patch_towers as P
from claims import vector_towers as T
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.denoise_word import DenoiseWord

CHECK = Check(
    id="denoise_contrast",
    card="prompts/denoise_word",
    claim="Where images are so noisy that words learned by denoising alone mix classes up, the contrast between classes parts them",
    plant="16 classes under one made-up name, images with four times the noise of pretraining, 8 of each class",
    baseline="the same words and steps without the contrast (GCPL)",
    control="the noise of pretraining, where words learned by denoising alone part the classes",
    margin=0.02,
    control_margin=0.005,
)


def fixtures() -> None:
    T.tower()
    D.model()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, diffusion, classes = T.tower(), D.model(), T.split(seed)[0][:16]
    noise = (4 if planted else 1) * T.NOISE
    look = lambda n, start, shots=None: P.only(D.scenes(n, start + 100_000 * seed, noise=noise), classes, shots=shots)
    train, test, found = look(1000, 30_000, 8), look(600, 60_000), {}
    for arm, contrast in (("ours", 1.0), ("baseline", 0.0), ("a tenth of the weight", 0.1)):
        learner = DenoiseWord(start="dax zorp", contrast=contrast, steps=50, lr=0.02, draws=8, seed=seed)
        learner.fit(model, diffusion, T.named(classes), train)
        found[arm] = accuracy(learner.logits(model, diffusion, test, chunk=300), test.y_N)
    return found
