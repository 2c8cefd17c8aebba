"""ProAPO: one labelled image a class finds the sentences that describe it among as many that describe a neighbour."""

from __future__ import annotations

import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.evolved_prompts import EvolvedPrompts

CHECK = Check(
    id="evolved_prompts",
    card="prompts/evolved_prompts",
    claim="Evolution with one labelled image a class finds which sentences are about the class; their mean beats that of all",
    plant="20 classes with 20 noisy sentences each, half of which describe one of the two nearest classes; one typical image a class",
    baseline="the mean of all sentences",
    control="the wrong sentences describe far classes at random, each another one: their mean already cancels them",
    margin=0.06,
    control_margin=0.03,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, classes=20, within=2.0, test_per_class=50)
    rng = generator("evolved prompts", seed)
    near_C2 = (sim.means_CD @ sim.means_CD.T).fill_diagonal_(-2).topk(2).indices
    C, P = 20, 20
    about_CP = torch.arange(C)[:, None].repeat(1, P)
    wrong_CP = torch.arange(P).expand(C, P) < P // 2
    pick_CP = torch.randint(0, 2, (C, P), generator=rng)
    neighbour_CP = near_C2.gather(1, pick_CP)
    far_CP = torch.stack([torch.randperm(C, generator=rng) for _ in range(C)])  # each sentence another class
    about_CP = torch.where(wrong_CP, neighbour_CP if planted else far_CP, about_CP)
    noise = torch.randn(C, P, sim.means_CD.shape[1], generator=rng) / 8
    prompts_CPD = unit(sim.means_CD[about_CP] + 1.5 * noise)
    shot = Features(unit(sim.means_CD + 0.5 * torch.randn(sim.means_CD.shape, generator=rng) / 8), torch.arange(C))
    text = ClassText(unit(prompts_CPD.mean(1)), prompts_CPD=prompts_CPD, scale=16.0)
    score = lambda t: accuracy(sim.test.z @ t.W_CD.T, sim.test.y)
    ours = EvolvedPrompts(children=4, seed=seed).fit(text, shot)
    right_CPD = prompts_CPD * ~wrong_CP[..., None]
    return {
        "ours": score(ours.text()),
        "baseline": score(text),
        "only right sentences": accuracy(sim.test.z @ unit(right_CPD.sum(1)).T, sim.test.y),
        "wrong kept": float((ours.chosen_CP & wrong_CP).double().sum() / ours.chosen_CP.sum()),
    }
