"""GLOV: a writer that is shown how templates scored finds better ones than the same writer that is not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, numpy_rng, unit
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.models.dual import DualEncoder
from pairwright.prompts.propose_and_rank import ProposeAndRank

CHECK = Check(
    id="propose_and_rank",
    card="prompts/propose_and_rank",
    claim="Ranked templates shown with their scores let a writer propose better ones, at the same number of scored templates",
    plant="a text tower in which the words around a name decide how it is read; 20 of 400 words suit the domain of the images; "
    "a writer that mixes words of the templates it is shown as good with others; five words a template, 120 templates, 8 shots a class; "
    "mean of 8 such worlds",
    baseline="the same writer, shown nothing: random templates, ranked by the same shots",
    control="the scores that the writer is shown are shuffled",
    margin=0.02,
    control_margin=0.015,
)
D, CLASSES, WORDS, GOOD, LENGTH = 48, 30, 400, 20, 5
START = " ".join(f"w{i}" for i in range(LENGTH))


class Reading(nn.Module):
    """Text tower: the vector of the name, every coordinate stretched by the words around it."""

    points: frozenset[str] = frozenset()
    width = D

    def __init__(self, names_CD: Tensor, words_VD: Tensor) -> None:
        super().__init__()
        self.register_buffer("names", names_CD)
        self.register_buffer("words", words_VD)

    def forward(self, ids_BL: Tensor) -> Encoded:
        return Encoded.of(self.names[ids_BL[:, -1]] * (0.45 * self.words[ids_BL[:, :-1]].sum(1)).exp())


def writer(rng, used):
    """`LENGTH` words a template; half of them from the best half of the templates that are shown, if `used`."""

    def write(requests: list[str]) -> list[str]:
        shown = [line.split(": ") for line in requests[0].splitlines() if line.endswith("{}") and line[0].isdigit()]
        shown = used(shown)
        shown.sort(key=lambda s: -float(s[0]))
        good = [w for _, t in shown[: (len(shown) + 1) // 2] for w in t.split()[:-1]]
        word = lambda: str(rng.choice(good)) if good and rng.random() < 0.6 else f"w{rng.integers(WORDS)}"
        return ["\n".join(" ".join([*(word() for _ in range(LENGTH)), "{}"]) for _ in range(6))]

    return write


def arms(seed: int, planted: bool) -> dict[str, float]:
    each = [one(f"{seed}/{draw}", planted) for draw in range(8)]
    return {name: sum(found[name] for found in each) / len(each) for name in each[0]}


def one(seed: str, planted: bool) -> dict[str, float]:
    rng = generator("propose and rank", seed)
    names_CD, domain_D = torch.randn(CLASSES, D, generator=rng), torch.randn(D, generator=rng)
    words_VD = torch.randn(WORDS, D, generator=rng)
    words_VD[:GOOD] = 0.6 * domain_D + 0.5 * words_VD[:GOOD]
    words_VD = words_VD[torch.randperm(WORDS, generator=rng)]
    ids = {f"w{i}": i for i in range(WORDS)}
    tokens = lambda texts: torch.tensor([[*(ids[w] for w in t.split()[:-1]), int(t.split()[-1])] for t in texts])
    image = nn.Identity()
    image.width = D
    model = DualEncoder({"image": image, "text": Reading(names_CD, words_VD)}, tokenizer=tokens)

    def look(per_class: int) -> Features:
        y_N = torch.arange(CLASSES).repeat(per_class)
        z_ND = unit(names_CD[y_N] * domain_D.exp()) + 1.6 * torch.randn(len(y_N), D, generator=rng) / D**0.5
        return Features(unit(z_ND), y_N, encoder=model.fingerprint)

    train, test, names = look(8), look(40), [str(c) for c in range(CLASSES)]

    def found(used) -> float:
        learner = ProposeAndRank(rounds=20, ask=6, start=f"{START} {{}}")
        learner.fit(model, names, train, writer(numpy_rng("writer", seed), used))
        return accuracy(test.z @ learner.text(model, names).W_CD.T, test.y)

    mix = numpy_rng("shuffled scores", seed)
    shuffled = lambda shown: [[s, t] for s, (_, t) in zip(mix.permutation([s for s, _ in shown]).tolist(), shown)]
    start = accuracy(test.z @ model.text(tokens([f"{START} {n}" for n in names])).z_BD.T, test.y)
    return {"ours": found(list if planted else shuffled), "baseline": found(lambda shown: []), "start": start}
