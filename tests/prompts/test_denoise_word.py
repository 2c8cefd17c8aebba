"""Class words by denoising: errors against loops, words against a plain textual-inversion loop, the limits without steps or contrast."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from pairwright.core.encoded import Encoded
from pairwright.core.features import EncoderMismatch
from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.models.towers.wrapped import Wrapped
from pairwright.prompts.denoise_word import DenoiseWord
from pairwright.prompts.diffusion import Diffusion
from pairwright.prompts.images import Images

NAMES = ["red circle", "blue square", "green star"]
MODEL = tiny(3, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
RNG = generator("denoise words")
KEEP_T = torch.linspace(0.95, 0.05, 7)
W_1, W_2 = torch.randn(16, 12, generator=RNG), torch.randn(16, 12, generator=RNG)
TRAIN = Images(torch.randn(9, 3, 2, 2, generator=RNG), torch.arange(3).repeat(3))


def predict(x_B, t_B, text: Encoded):
    """Reads both the pooled text and its words."""
    assert text.tokens_BMD is not None
    told = torch.tanh(text.z_BD @ W_1) + (text.tokens_BMD * text.mask_BM[..., None]).mean(1) @ W_2
    return x_B * (1 - KEEP_T[t_B].view(-1, 1, 1, 1)) + told.view(x_B.shape)


DIFFUSION = Diffusion(predict, KEEP_T)


def learned(names=NAMES, train=TRAIN, **more):
    return DenoiseWord(**{"steps": 3, "batch": 2, "lr": 0.05, "draws": 5, **more}).fit(MODEL, DIFFUSION, names, train)


def test_errors_are_those_of_a_loop_over_images_and_texts():
    text = MODEL.text(MODEL.tokenizer(NAMES), tokens=True)
    noise, t = torch.randn(9, 3, 2, 2, generator=RNG), torch.arange(9) % 7
    found = DIFFUSION.errors(TRAIN.x, noise, t, text)
    for b in range(9):
        for c in range(3):
            a = float(KEEP_T[t[b]])
            guess = predict(a**0.5 * TRAIN.x[b : b + 1] + (1 - a) ** 0.5 * noise[b : b + 1], t[b : b + 1], text.rows(slice(c, c + 1)))
            assert float(found[b, c]) == pytest.approx(float(((guess - noise[b]) ** 2).mean()), abs=1e-5)


def test_words_are_those_of_textual_inversion_class_by_class():
    """An independent loop: one class and one optimiser at a time, in token space, its gradient by autograd of the mean error."""
    found = learned()
    for c, name in enumerate(NAMES):
        rng, rows = generator("denoise word", 0, name), (TRAIN.y_N == c).nonzero().squeeze(1)
        ids = MODEL.tokenizer(["a photo of a object"])
        at = ids[0].tolist().index(int(MODEL.tokenizer(["object"])[0, 1]))
        word = MODEL.embed_tokens(ids)[:, at].detach().clone().requires_grad_()
        optimiser = torch.optim.AdamW([word], 0.05, weight_decay=1e-2)
        for _ in range(3):
            picked = rows[torch.randint(3, (2,), generator=rng)]
            t = torch.randint(7, (2,), generator=rng)
            noise = torch.randn(2, 3, 2, 2, generator=rng)
            rows_E = MODEL.embed_tokens(ids).clone()
            rows_E[:, at] = word
            text = MODEL.towers["text"].from_embeddings(rows_E, MODEL.towers["text"].eot(ids), tokens=True).rows(torch.tensor([0, 0]))
            a = KEEP_T[t].view(2, 1, 1, 1)
            guess = predict(a.sqrt() * TRAIN.x[picked] + (1 - a).sqrt() * noise, t, text)
            optimiser.zero_grad()
            ((guess - noise) ** 2).mean().backward()
            optimiser.step()
        torch.testing.assert_close(found.words_[c], word.detach(), rtol=0, atol=1e-4)


def test_no_steps_are_the_classifier_by_the_hand_written_prompt():
    still = learned(start="{}", steps=0)
    text = MODEL.text(MODEL.tokenizer([f"a photo of a {n}" for n in NAMES]), tokens=True)
    torch.testing.assert_close(still.text(MODEL).z_BD, text.z_BD)
    noise_S = torch.randn(5, 3, 2, 2, generator=generator("denoise draws", 0))
    slow = torch.zeros(9, 3)
    for s, t in enumerate((0, 2, 3, 4, 6)):  # five times spread over seven steps
        slow -= DIFFUSION.errors(TRAIN.x, noise_S[s].expand(9, -1, -1, -1), torch.full((9,), t), text) / 5
    torch.testing.assert_close(still.logits(MODEL, DIFFUSION, TRAIN), slow)
    torch.testing.assert_close(still.logits(MODEL, DIFFUSION, TRAIN, chunk=2), slow)


def test_contrast_adds_the_cross_entropy_among_noises_of_other_classes_and_fades_to_none():
    text, y = MODEL.text(MODEL.tokenizer(NAMES), tokens=True), TRAIN.y_N
    noise, t = torch.randn(9, 3, 2, 2, generator=RNG), torch.arange(9) % 7
    more = DenoiseWord(contrast=0.5, temperature=0.3).loss(DIFFUSION, TRAIN.x, noise, t, text, y)
    for b in range(9):
        a = float(KEEP_T[t[b]])
        mixed = a**0.5 * TRAIN.x[b : b + 1] + (1 - a) ** 0.5 * noise[b : b + 1]
        guess = predict(mixed, t[b : b + 1], text.rows(slice(int(y[b]), int(y[b]) + 1)))[0]
        far = {j: float(((guess - noise[j]) ** 2).mean()) for j in range(9) if j == b or y[j] != y[b]}
        total = sum(math.exp(-d / 0.3) for d in far.values())
        assert float(more[b]) == pytest.approx(far[b] - 0.5 * math.log(math.exp(-far[b] / 0.3) / total), abs=1e-4)
    torch.testing.assert_close(learned(contrast=1e-9).words_, learned().words_, rtol=0, atol=1e-3)
    assert (learned(contrast=1.0).words_ - learned().words_).abs().max() > 1e-2


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_classes_are_equivariant_the_model_untouched_and_a_refit_fresh(contrast):
    before = {k: v.clone() for k, v in MODEL.state_dict().items()}
    old, perm = learned(contrast=contrast), torch.tensor([2, 0, 1])
    new = learned([NAMES[i] for i in perm], dataclasses.replace(TRAIN, y_N=torch.argsort(perm)[TRAIN.y_N]), contrast=contrast)
    torch.testing.assert_close(new.words_, old.words_[perm], rtol=0, atol=1e-4)
    again = old.fit(MODEL, DIFFUSION, NAMES, TRAIN)
    assert torch.equal(again.words_, learned(contrast=contrast).words_)
    assert all(torch.equal(v, before[k]) for k, v in MODEL.state_dict().items())


def test_the_loss_falls():
    found = learned(steps=60, batch=8)
    assert found.losses_[-10:].mean() < found.losses_[:10].mean() - 0.05


def test_bad_input_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="not fitted"):
        DenoiseWord().text(MODEL)
    with pytest.raises(ValueError, match="images or latents"):
        learned(train=TRAIN.x)
    with pytest.raises(ValueError, match="'moon' has no image"):
        learned([*NAMES, "moon"])
    with pytest.raises(ValueError, match="same number"):
        learned([*NAMES[:2], "star"], start="{}")
    foreign = tiny(3, width=16, dim=16, vocab=256, context=12)
    foreign.towers["text"] = Wrapped(torch.nn.Linear(1, 1), 16, name="a foreign encoder")
    with pytest.raises(ValueError, match="a foreign encoder"):
        DenoiseWord().fit(foreign, DIFFUSION, NAMES, TRAIN)
    with pytest.raises(ValueError, match="predicted noise of shape"):
        DenoiseWord(steps=1).fit(MODEL, Diffusion(lambda x, t, text: x[:, :1], KEEP_T), NAMES, TRAIN)
    with pytest.raises(EncoderMismatch):
        learned().text(tiny(4, width=16, dim=16, vocab=256, context=12))
