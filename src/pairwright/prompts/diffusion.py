"""A frozen text-to-image diffusion model as prompt learners see it: how well does it denoise an image when told a text?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.encoded import Encoded

Predict = Callable[[Tensor, Tensor, Encoded], Tensor]
"""Noisy images (B, ...), their time steps (B,) and B encoded texts -> the predicted noise, shaped like the images."""


@dataclass(frozen=True)
class Diffusion:
    """The denoising error of images under class text, by any noise-predicting diffusion model with its weights frozen.

    predict(x_t, t_B, text): the predicted noise; the model is in eval mode, and gradients flow to the text. `text` is what the text tower
    made: ``z_BD``, and ``tokens_BMD`` with ``mask_BM`` for cross-attention. keep_T: the share of the image's variance that is left at each
    time step, the schedule's cumulative product of alphas (``alphas_cumprod``). For a latent diffusion model images are latents.

    >>> blind = Diffusion(lambda x, t, text: torch.zeros_like(x), torch.tensor([0.9, 0.1]))
    >>> blind.error(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), torch.tensor([1]), Encoded(torch.ones(1, 4)))
    tensor([1.])
    """

    predict: Predict
    keep_T: Tensor

    def noisy(self, x_B: Tensor, noise_B: Tensor, t_B: Int[Tensor, " B"]) -> Tensor:
        """sqrt(keep_t) x + sqrt(1 - keep_t) noise."""
        keep_B = self.keep_T.to(x_B)[t_B].view(-1, *[1] * (x_B.ndim - 1))
        return keep_B.sqrt() * x_B + (1 - keep_B).sqrt() * noise_B

    def guess(self, x_B: Tensor, noise_B: Tensor, t_B: Int[Tensor, " B"], text: Encoded) -> Tensor:
        """The noise that is predicted for each image under the text of the same row, in float32."""
        guess_B = self.predict(self.noisy(x_B, noise_B, t_B), t_B, text)
        if guess_B.shape != x_B.shape:
            raise ValueError(f"the diffusion model predicted noise of shape {tuple(guess_B.shape)} for images {tuple(x_B.shape)}")
        return guess_B.float()

    def error(self, x_B: Tensor, noise_B: Tensor, t_B: Int[Tensor, " B"], text: Encoded) -> Float[Tensor, " B"]:
        """Mean squared error of the predicted noise of each image under the text of the same row."""
        return (self.guess(x_B, noise_B, t_B, text) - noise_B.float()).square().flatten(1).mean(1)

    def errors(self, x_B: Tensor, noise_B: Tensor, t_B: Int[Tensor, " B"], text: Encoded) -> Float[Tensor, "B C"]:
        """The error of each image under each of C texts, all at the same time step and with the same noise."""
        B, C = len(x_B), len(text)
        row, of = torch.arange(B, device=x_B.device).repeat_interleave(C), torch.arange(C, device=x_B.device).repeat(B)
        return self.error(x_B[row], noise_B[row], t_B[row], text.rows(of)).view(B, C)
