"""GCPL and CoMPLe: a word for each class, learned so that a diffusion model told this word denoises the class's few images best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.numerics import generator
from pairwright.data.text.templates import fill, templates
from pairwright.prompts.diffusion import Diffusion
from pairwright.prompts.fit import labels_of
from pairwright.prompts.images import Images
from pairwright.prompts.tokens import check_fitted, frozen

CARD = Card(
    name="GCPL and CoMPLe (generative class prompt learning)",
    symbol="DenoiseWord",
    paper="gcpl-comple",
    title="Towards Generative Class Prompt Learning for Fine-grained Visual Recognition",
    year=2024,
    arxiv="2409.01835",
    where="section 3; the loss and its settings as in the released code",
    equation="f_bc = f(sqrt(a_t) x_b + sqrt(1 - a_t) eps_b, t_b, text(v_c)),  d_bj = |f_by - eps_j|^2 / pixels;  v_c by mean_b d_bb + "
    "contrast CE(-d_b / temperature, b) over b and the j of other classes;  class of x: argmin_c mean over (t, eps) of |f_c - eps|^2;  "
    "contrast 0 is GCPL, above 0 CoMPLe",
    says="Words learned from a few images by the denoising loss of a text-to-image model carry the visual detail that class names and "
    "contrastive embeddings miss; a contrast between classes makes them tell apart more.",
    needs="few labelled images + a frozen text-conditional diffusion model + its text tower (with token embeddings)",
    cost="one call of the diffusion model a row and step; to classify: draws x C calls an image",
    use_when="class names say nothing to the model (codes, jargon, new species), and a diffusion model of such images is at hand",
    not_when="quick answers are wanted: a head on cached features costs thousands of times less to classify an image (gda, tip_adapter_f)",
    aliases=("generative class prompt learning", "contrastive multi-class prompt learning", "GCPL", "CoMPLe", "textual inversion",
             "diffusion classifier"),
    neighbours=("prompts/coop", "prompts/upl"),
    deviations=(
        "the released code holds no contrast. As in the authors' figure, the noise predicted for an image is drawn to its own and pushed "
        "from those of images of other classes; the softmax over them, weight and temperature are ours. Not shown: on images with "
        "four times the noise of pretraining it loses 5 points at weight 1, and 29 where the temperature is 0.1 too; the noise of another "
        "image tells nothing about its class",
        "all classes are learned in one loop, four images of each in a step, where the code runs class by class and accumulates four steps "
        "of one; the same steps, since neither the loss without contrast nor AdamW mixes classes",
        "no random flips; the classifier takes the same evenly spaced time steps for every class, without early elimination of classes. "
        "Effect unknown",
        "a diffusion model is an argument; the check uses a small one, trained on vector scenes. Nothing is measured on Stable Diffusion",
    ),
    checks=("mechanism:denoise_word", "mechanism:denoise_contrast"),
)  # fmt: skip


@dataclass
class DenoiseWord:
    """Class words learned by a diffusion model from few images (textual inversion), and the classifier that goes by denoising error.

    template: the prompt around the word. start: what it is at first, such as the noun that all classes share; its tokens are what is
    learned, so ``"object object"`` learns two; ``"{}"`` starts from the class name. contrast: weight of the comparison between classes; 0
    is GCPL, above it is CoMPLe. temperature: of the distances in it. steps, lr, decay, batch (images of each class in a step): of AdamW.
    draws: pairs of time step and noise that classify an image. No validation is needed.

    Learned: ``words_`` (C, K, E). Classify with ``logits(model, diffusion, images)``; `text` gives the encoded prompts.
    """

    template: str = "a photo of a {}"
    start: str = "object"
    contrast: float = 0.0
    temperature: float = 1.0
    steps: int = 500
    lr: float = 2e-3
    batch: int = 4
    decay: float = 1e-2
    draws: int = 32
    seed: int = 0

    def fit(self, model: Any, diffusion: Diffusion, names: Sequence[str], train: Images) -> DenoiseWord:
        """Learn from images; label c is names[c]. The diffusion model listens to the model's text tower. 0 steps keep the start."""
        if not isinstance(train, Images):
            raise ValueError("DenoiseWord learns from images or latents: pass train=Images(x, y), as the diffusion model takes them")
        y_N = labels_of(train, len(names), self)
        rows_C = [(y_N == c).nonzero().squeeze(1) for c in range(len(names))]
        if self.steps and (bare := [n for n, rows in zip(names, rows_C) if not len(rows)]):
            raise ValueError(f"class {bare[0]!r} has no image to learn its word from: give one at least, or leave the class out")
        self.ids_, self.at_, K = word_ids(model, names, self.template, self.start)
        self.encoder_ = model.fingerprint
        self.words_ = model.embed_tokens(self.ids_)[:, self.at_ : self.at_ + K].detach().clone().requires_grad_()
        # draws are keyed by name, so that a class learns the same whatever its place
        rngs = [generator("denoise word", self.seed, n) for n in names]
        own_R = torch.arange(len(names), device=model.device).repeat_interleave(self.batch)
        optimiser, losses = torch.optim.AdamW([self.words_], self.lr, weight_decay=self.decay), []
        with frozen(model):
            for _ in range(self.steps):
                picked = [rows[torch.randint(len(rows), (self.batch,), generator=rng)] for rows, rng in zip(rows_C, rngs)]
                x_R = train.batch(torch.cat(picked), model.device)
                T, one = len(diffusion.keep_T), x_R.shape[1:]
                t_R = torch.cat([torch.randint(T, (self.batch,), generator=rng) for rng in rngs]).to(model.device)
                noise_R = torch.cat([torch.randn(self.batch, *one, generator=rng) for rng in rngs]).to(x_R)
                loss_R = self.loss(diffusion, x_R, noise_R, t_R, self._encode(model), own_R)
                # a sum over classes: each word's gradient is that of learning it alone
                (self.words_.grad,) = torch.autograd.grad(loss_R.sum() / self.batch, [self.words_])
                optimiser.step()
                losses.append(loss_R.detach().mean())
        self.words_, self.losses_ = self.words_.detach(), torch.stack(losses) if losses else torch.zeros(0)
        return self

    def loss(self, diffusion: Diffusion, x_R: Tensor, noise_R: Tensor, t_R: Tensor, text: Encoded, y_R: Tensor) -> Float[Tensor, " R"]:
        """The error of each image under its own class's text, and how its predicted noise stands among those of other classes."""
        guess_R = diffusion.guess(x_R, noise_R, t_R, text.rows(y_R))
        error_R = (guess_R - noise_R.float()).square().flatten(1).mean(1)
        if not self.contrast:
            return error_R
        f_RP, e_RP = guess_R.flatten(1), noise_R.float().flatten(1)
        apart_RR = f_RP.square().mean(1)[:, None] + e_RP.square().mean(1) - 2 * f_RP @ e_RP.T / f_RP.shape[1]
        own_RR = torch.eye(len(y_R), dtype=torch.bool, device=y_R.device)
        logits_RR = (-apart_RR / self.temperature).masked_fill((y_R[:, None] == y_R) & ~own_RR, -torch.inf)
        return error_R - self.contrast * logits_RR.log_softmax(1).diagonal()

    @torch.no_grad()
    def text(self, model: Any) -> Encoded:
        """The encoded class prompts (word tokens included), in the order of the names."""
        check_fitted(self, model)
        with frozen(model):
            return self._encode(model)

    @torch.no_grad()
    def logits(self, model: Any, diffusion: Diffusion, images: Images | Tensor, chunk: int = 64) -> Float[Tensor, "N C"]:
        """Class scores: minus the mean denoising error over evenly spaced time steps, the same noise for all classes and images."""
        images, text = images if isinstance(images, Images) else Images(images), self.text(model)
        T, rng, scores = len(diffusion.keep_T), generator("denoise draws", self.seed), []
        times_S = ((torch.arange(self.draws) + 0.5) * T / self.draws).long()
        noise_S = None
        for rows in torch.arange(len(images)).split(chunk):
            x_B = images.batch(rows, model.device)
            if noise_S is None:
                noise_S = torch.randn(self.draws, *x_B.shape[1:], generator=rng).to(x_B)
            each = (diffusion.errors(x_B, e.expand_as(x_B), t.to(model.device).expand(len(x_B)), text) for t, e in zip(times_S, noise_S))
            scores.append(-sum(each) / self.draws)
        return torch.cat(scores).cpu() if len(images) else torch.zeros(0, len(text))

    def _encode(self, model: Any) -> Encoded:
        emb_CLE, tower, K = model.embed_tokens(self.ids_), model.towers["text"], self.words_.shape[1]
        rows_CLE = torch.cat([emb_CLE[:, : self.at_], self.words_.to(emb_CLE.dtype), emb_CLE[:, self.at_ + K :]], 1)
        return tower.from_embeddings(rows_CLE, tower.eot(self.ids_), tokens=True)


def word_ids(model: Any, names: Sequence[str], template: str, start: str) -> tuple[Int[Tensor, "C L"], int, int]:
    """Token rows of the prompts with the start word in place, where it begins, and how many tokens it has."""
    if getattr(model, "tokenizer", None) is None:
        raise ValueError("this model has no tokenizer: load it with pairwright.load, or set model.tokenizer")
    (template,) = templates(template)
    words = [fill(start, n) for n in names]
    model.embed_tokens(model.tokenizer(words[:1]).to(model.device))  # a tower without this point says so
    tower = model.towers["text"]
    ids_CL, alone_CL = model.tokenizer([fill(template, w) for w in words]), model.tokenizer(words)
    at = int(tower.eot(model.tokenizer([template[: template.index("{")].strip()])))
    K_C = tower.eot(alone_CL) - 1
    if len(K_C.unique()) != 1 or K_C[0] < 1:
        raise ValueError(f"the start {start!r} makes words of {K_C.min()} to {K_C.max()} tokens: all need the same number, at least one")
    K = int(K_C[0])
    if not torch.equal(ids_CL[:, at : at + K], alone_CL[:, 1 : 1 + K]):
        raise ValueError(f"the word {words[0]!r} is not found in the prompt {template!r} as this tokenizer splits it: choose another start")
    return ids_CL.to(model.device), at, K
