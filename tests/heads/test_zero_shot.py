"""Zero-shot heads against loops, and class text from a toy model whose embeddings are known."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.encoded import Encoded
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.data.text.templates import templates
from pairwright.data.world.simulate import simulate
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.description_ensemble import DescriptionEnsemble
from pairwright.heads.zero_shot.prompt_ensemble import PromptEnsemble

SIM = simulate(0, classes=5, width=12, prompts=3, test_per_class=4)


def test_zero_shot_is_scale_times_cosine():
    logits = ZeroShot().fit(None, SIM.text).logits(SIM.test)
    for n in range(len(SIM.test)):
        for c in range(5):
            cosine = sum(float(a) * float(b) for a, b in zip(SIM.test.z[n], SIM.text.W_CD[c]))
            assert float(logits[n, c]) == pytest.approx(SIM.text.scale * cosine, abs=1e-4)
    assert torch.equal(ZeroShot(scale=1.0).fit(None, SIM.text).logits(SIM.test).argmax(1), logits.argmax(1))


def ragged() -> ClassText:
    prompts = SIM.text.prompts_CPD.clone()
    prompts[1, 2] = 0
    prompts[4, 1:] = 0
    return ClassText(SIM.text.W_CD, SIM.text.names, 2.5 * prompts, encoder=SIM.text.encoder, scale=10.0)  # lengths of prompts do not count


def test_prompt_ensemble_is_the_unit_mean_of_real_prompts():
    text = ragged()
    logits = PromptEnsemble().fit(None, text).logits(SIM.test)
    for c in range(5):
        real = [p / p.norm() for p in text.prompts_CPD[c] if p.abs().sum() > 0]
        mean = sum(real) / len(real)
        torch.testing.assert_close(logits[:, c], 10 * SIM.test.z @ (mean / mean.norm()), rtol=1e-5, atol=1e-5)


def test_description_ensemble_is_the_mean_of_scores_and_explains_itself():
    text = ragged()
    head = DescriptionEnsemble().fit(None, text)
    logits, scores = head.logits(SIM.test), head.scores(SIM.test)
    for c in range(5):
        real = [10 * SIM.test.z @ (p / p.norm()) for p in text.prompts_CPD[c] if p.abs().sum() > 0]
        torch.testing.assert_close(logits[:, c], sum(real) / len(real), rtol=1e-5, atol=1e-5)
    assert torch.isnan(scores[:, 4, 1:]).all()
    torch.testing.assert_close(scores.nanmean(2), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", [PromptEnsemble, DescriptionEnsemble])
def test_one_prompt_and_repeated_prompts_are_zero_shot(head):
    one = SIM.text.prompts_CPD[:, :1]
    expected = ZeroShot().fit(None, ClassText(one[:, 0], scale=16.0)).logits(SIM.test)
    for prompts in (one, one.expand(-1, 7, -1)):
        text = ClassText(one[:, 0], prompts_CPD=prompts, scale=16.0)
        torch.testing.assert_close(head().fit(None, text).logits(SIM.test), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", [PromptEnsemble, DescriptionEnsemble])
def test_missing_prompts_are_named(head):
    with pytest.raises(ValueError, match="class_text"):
        head().fit(None, ClassText(SIM.text.W_CD))
    empty = SIM.text.prompts_CPD.clone()
    empty[2] = 0
    with pytest.raises(ValueError, match="'class 2' has no prompt"):
        head().fit(None, ClassText(SIM.text.W_CD, SIM.text.names, empty))


class Toy(torch.nn.Module):
    """A text encoder by hash: each string has its own fixed vector."""

    scale, fingerprint = torch.tensor(20.0), "toy"

    def __init__(self):
        super().__init__()
        self.seen, self.batches = [], []

    def tokenizer(self, texts):
        self.batches.append(len(texts))
        self.seen += texts
        return torch.arange(len(self.seen) - len(texts), len(self.seen))[:, None]

    def text(self, ids):
        assert not self.training
        return Encoded.of(torch.stack([vector(self.seen[int(i)]) for i in ids]))


def vector(text: str) -> torch.Tensor:
    return 3 * torch.randn(12, generator=generator(text))


def test_class_text_embeds_every_prompt_in_order():
    model = Toy().train()
    text = class_text(model, ["cat", "{odd}"], ["a {}.", "one {c}!", "{}"], batch=4)
    assert model.seen == ["a cat.", "one cat!", "cat", "a {odd}.", "one {odd}!", "{odd}"]
    assert model.batches == [4, 2]
    assert model.training
    assert text.names == ("cat", "{odd}")
    assert (text.encoder, text.scale) == ("toy", 20.0)
    expected = torch.stack([unit(vector(s)) for s in model.seen]).view(2, 3, 12)
    torch.testing.assert_close(text.prompts_CPD, expected)
    torch.testing.assert_close(text.W_CD, unit(expected.mean(1)))


def test_class_text_from_descriptions_pads_ragged_classes():
    model = Toy()
    text = class_text(model, ["hen", "cat"], descriptions={"cat": ["whiskers", "a tail"], "hen": ["feathers"]})
    assert model.seen == ["hen which has feathers", "cat which has whiskers", "cat which has a tail"]
    assert (text.prompts_CPD[0, 1] == 0).all()
    torch.testing.assert_close(text.W_CD[0], unit(vector("hen which has feathers")))
    z = Features.of(torch.randn(3, 12, generator=generator("z")), encoder="toy")
    assert DescriptionEnsemble().fit(None, text).logits(z).shape == (3, 2)


def test_class_text_refuses_what_cannot_be_meant():
    for names, more, message in (
        ([], {}, "no class names"),
        (["a", " "], {}, "class name 1 is empty"),
        (["a", "b", "a"], {}, "'a' appears twice"),
        (["a"], {"descriptions": {"a": ["x"], "b": ["y"]}}, "'b', which is not among"),
        (["a", "b"], {"descriptions": {"a": ["x"]}}, "no description for 'b'"),
        (["a"], {"descriptions": {"a": "legs"}}, "one string"),
        (["a"], {"descriptions": {"a": ["x"]}, "phrase": "{} with"}, "no place {d}"),
        (["a"], {"templates": "a photo"}, "no template list"),
    ):
        with pytest.raises(ValueError, match=message.replace("{", r"\{")):
            class_text(Toy(), names, **more)


def test_default_template_is_the_shipped_one():
    model = Toy()
    class_text(model, ["cat"])
    assert model.seen == [t.replace("{}", "cat") for t in templates("simple")]
