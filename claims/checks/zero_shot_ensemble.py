"""Prompt ensembles: the mean of many prompts of a class is nearer to the class than any one of them."""

from __future__ import annotations

from dataclasses import replace

from pairwright.data.world.simulate import simulate
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.prompt_ensemble import PromptEnsemble
from pairwright.ledger.check import Check
from pairwright.metrics.topk_accuracy import topk_accuracy

CHECK = Check(
    id="zero_shot_ensemble",
    card="heads/zero_shot/prompt_ensemble",
    claim="The mean embedding of 16 prompts per class classifies better than the best single one of them.",
    plant="every prompt errs by itself, by 1.5 times the length of its class",
    baseline="zero-shot with a single template: the best of the 16, chosen on the test rows (more than a user could have)",
    control="prompts of a class do not differ: the mean has nothing to remove",
    margin=0.1,
    control_margin=0.005,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, prompts=16, text_noise=0.5, prompt_noise=1.5 if planted else 0.0)
    score = lambda head, text: topk_accuracy(head.fit(None, text).logits(sim.test), sim.test.y)
    single = [score(ZeroShot(), replace(sim.text, W_CD=sim.text.prompts_CPD[:, p])) for p in range(16)]
    return {"ours": score(PromptEnsemble(), sim.text), "baseline": max(single), "mean single prompt": sum(single) / 16}
