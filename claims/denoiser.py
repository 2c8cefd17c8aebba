"""A small text-to-image diffusion model on the scenes of vector_towers: it predicts the noise of image vectors, told what a caption says.

It listens to the frozen text tower of the contrastive twin, as latent diffusion models do. Trained once, cached by settings and code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from claims import vector_towers as V
from pairwright.core.encoded import Encoded
from pairwright.core.numerics import generator
from pairwright.data.world import fixtures, vectors
from pairwright.prompts import diffusion
from pairwright.prompts.diffusion import Diffusion
from pairwright.prompts.images import Images

SIZE = (3, 8, 4)
SPREAD = 5.0  # brings a component of the image vectors to about unit variance
KEEP_T = torch.cos(torch.linspace(0.02, 0.98, 50) * torch.pi / 2) ** 2


class Denoiser(nn.Module):
    """Perceptron on noisy image, time step and class embedding; it corrects the best guess that knows none of the three."""

    def __init__(self, inputs: int = 96, width: int = 64, hidden: int = 192) -> None:
        super().__init__()
        self.time = nn.Embedding(len(KEEP_T), 16)
        self.net = nn.Sequential(
            nn.Linear(inputs + width + 16, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, inputs)
        )

    def forward(self, x_B: Tensor, t_B: Tensor, text: Encoded) -> Tensor:
        flat_BW = x_B.flatten(1)
        told_BE = torch.cat([flat_BW, 8 * text.z_BD, self.time(t_B)], 1)
        return ((1 - KEEP_T[t_B, None]).sqrt() * flat_BW + self.net(told_BE)).view(x_B.shape)


def model(steps: int = 2500, batch: int = 192, folder: Path | None = None) -> Diffusion:
    """The diffusion model trained on vector scenes of WORLD and their captions; loaded if built before."""
    spec = {"world": V.WORLD.spec, "steps": steps, "batch": batch, "noise": V.NOISE}
    files = [*fixtures.world_files(), Path(vectors.__file__), Path(__file__), Path(V.__file__), Path(diffusion.__file__)]
    net = _fresh()
    net.load_state_dict(fixtures.cached("vector-denoiser", spec, lambda: _train(net, steps, batch), files=files, folder=folder))
    return Diffusion(net.eval().requires_grad_(False), KEEP_T)


def scenes(n: int, start: int, noise: float = V.NOISE) -> Images:
    """The samples start … start + n - 1 as images (n, 3, 8, 4), labelled with their place in NAMES."""
    batch = V.WORLD.sample(n, start)
    y_N = batch.facts.shape_NO[:, 0] * V.WORLD.colours + batch.facts.colour_NO[:, 0]
    return Images(SPREAD * vectors.image_vectors(batch, noise=noise).view(-1, *SIZE), torch.from_numpy(y_N))


def _fresh() -> Denoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Denoiser()


def _train(net: Denoiser, steps: int, batch: int) -> dict[str, Tensor]:
    twin, images, rng = V.tower(), scenes(20_000, 0), generator("vector denoiser")
    with torch.no_grad():
        z_ND = twin.text(twin.tokenizer(V.WORLD.sample(20_000).caption)).z_BD
    untrained, optimizer = Diffusion(net, KEEP_T), torch.optim.AdamW(net.parameters(), lr=2e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        i, t_B = torch.randint(len(images), (batch,), generator=rng), torch.randint(len(KEEP_T), (batch,), generator=rng)
        x_B = images.x[i]
        loss = untrained.error(x_B, torch.randn(x_B.shape, generator=rng), t_B, Encoded(z_ND[i])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.state_dict()
