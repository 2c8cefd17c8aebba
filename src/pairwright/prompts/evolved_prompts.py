"""ProAPO: which sentences describe a class best, found by evolution with one labelled image a class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features, check_finite, check_same_encoder
from pairwright.core.numerics import numpy_rng, unit
from pairwright.prompts.fit import labels_of

CARD = Card(
    name="ProAPO (progressively automatic prompt optimization)",
    symbol="EvolvedPrompts",
    paper="proapo",
    title="ProAPO: Progressively Automatic Prompt Optimization for Visual Classification",
    year=2025,
    arxiv="2502.19844",
    where="section 3, equation 2 and algorithm 1",
    equation="W_c = unit(mean of the chosen sentences of c);  F = accuracy - weight CE(scale z W^T, y);  "
    "add, remove, replace, cross, mutate the choices of a few confused classes, keep the fittest",
    says="Sentences of a language model are partly wrong or say nothing; evolution with one image a class finds those that tell classes "
    "apart, if fitness holds a cross-entropy beside the accuracy, which one image soon saturates.",
    needs="embedded candidate sentences of each class + one labelled feature a class",
    cost="no text tower: small products over the few classes that change, a second for 100 classes",
    use_when="descriptions from a language model of unknown quality, one or a few labelled images a class, text that has to stay readable",
    not_when="descriptions are all right: the mean of all is then better; many shots (heads on features)",
    aliases=("automatic prompt optimization", "evolutionary prompt search", "genetic prompt search", "discrete prompt search"),
    neighbours=("heads/zero_shot/description_ensemble", "prompts/propose_and_rank"),
    deviations=(
        "the released code adds a tenth of the top-5 accuracy and a small reward for similar classes to the fitness; left out, as in the "
        "paper's text. Effect unknown",
        "groups are the class of the greatest loss and those it is confused with, of all classes in turn; the released code also clusters "
        "classes by k-means. Effect unknown",
        "measured on planted data: with accuracy alone (weight=0) one image a class is right from the start and nothing improves",
        "the released code reports the generation that is best on the test data; here the fittest on the shots is kept",
    ),
    checks=("mechanism:evolved_prompts",),
)


@dataclass
class EvolvedPrompts:
    """Choose the best sentences of every class by evolution: discrete prompt search with one labelled image a class, no text tower.

    rounds: passes over the classes, each in `groups` groups of confused classes. generations: within a group. parents: survivors.
    children: made by each of add, remove, replace and mutate from each parent, and twice as many by crossing. weight: of the
    cross-entropy in the fitness; 0 is accuracy alone. shared: one choice for all classes, whose sentences are templates in the same order.
    `fit` needs a `ClassText` with single prompts (zeros pad). The search starts from all sentences and from random halves of them.
    """

    rounds: int = 3
    groups: int = 4
    generations: int = 4
    parents: int = 4
    children: int = 8
    weight: float = 1.0
    shared: bool = False
    seed: int = 0

    def fit(self, candidates: ClassText, train: Features) -> EvolvedPrompts:
        """Search with labelled features of the same encoder; label c is the class text's row c. Learns ``chosen_CP``, ``fitness_``."""
        if candidates.prompts_CPD is None:
            raise ValueError("evolution chooses among single sentences: make the class text with descriptions or several templates")
        if min(self.groups, self.parents, self.children) < 1 or min(self.rounds, self.generations) < 0:
            raise ValueError("groups, parents and children must be at least 1, rounds and generations at least 0")
        y_N = labels_of(train, len(candidates), self)
        check_finite(train.z_ND)
        check_same_encoder(candidates, train)
        self.text_ = candidates
        self._all, self._z, self._y = unit(candidates.prompts_CPD), train.z_ND, y_N
        self.real_CP = (self._all != 0).any(-1)
        if not self.real_CP.any(1).all():
            raise ValueError(f"class {candidates.names[int((~self.real_CP.any(1)).nonzero()[0])]!r} has no sentence: describe every class")
        if self.shared and not self.real_CP.all():
            raise ValueError("a choice that all classes share needs as many templates for each class: use shared=False for descriptions")
        rng = numpy_rng("evolved prompts", self.seed)
        best = self._born(self.real_CP)
        for _ in range(self.rounds if len(train) else 0):
            order = self._by_loss(best)
            for _ in range(self.groups):
                group = [] if not order else order[:1] if self.shared else self._confused(best, order)
                order = [c for c in order if c not in group]
                if group:
                    best = self._evolve(best, torch.tensor(range(len(candidates)) if self.shared else group), rng)
        self.chosen_CP, self.fitness_ = best.chosen_CP, best.fitness
        del self._all, self._z, self._y
        return self

    def text(self) -> ClassText:
        """Class text of the chosen sentences alone, for heads; other sentences of a class are zero rows."""
        if not hasattr(self, "chosen_CP"):
            raise ValueError("this EvolvedPrompts is not fitted yet: call fit(candidates, train) first")
        prompts_CPD = unit(self.text_.prompts_CPD) * self.chosen_CP[..., None]
        return replace(self.text_, W_CD=unit(prompts_CPD.sum(1)), prompts_CPD=prompts_CPD)

    def _born(self, chosen_CP: Tensor, of: _Choice | None = None, group: Tensor | None = None) -> _Choice:
        """Score a choice; only the classes of `group` differ from `of`, so only their text and columns are made anew."""
        rows = slice(None) if group is None else group
        w_gD = unit((self._all[rows] * chosen_CP[rows, :, None]).sum(1))
        logits_NC = self._z.new_empty(len(self._z), len(chosen_CP)) if of is None else of.logits_NC.clone()
        logits_NC[:, rows] = self.text_.scale * self._z @ w_gD.T
        if not len(self._y):
            return _Choice(chosen_CP, logits_NC, 0.0)
        return _Choice(chosen_CP, logits_NC, fitness(logits_NC, self._y, self.weight))

    def _evolve(self, best: _Choice, group: Tensor, rng: np.random.Generator) -> _Choice:
        alive = [best]
        for generation in range(self.generations):
            made = [self._halved(best, group, rng) for _ in range(self.children * self.parents)] if not generation else []
            for _ in range(self.children):
                for parent in alive:
                    made += [self._edited(parent, group, rng, adds, drops) for adds, drops in ((1, 0), (0, 1), (1, 1))]
                made += [self._edited(alive[rng.integers(len(alive))], group, rng, *rng.integers(1, 4, 2))]
                if len(alive) > 1:
                    made += [self._crossed(alive, group, rng) for _ in range(2)]
            seen: dict[bytes, _Choice] = {}
            for choice in [*alive, *(m for m in made if m is not None)]:
                seen.setdefault(choice.chosen_CP.numpy().tobytes(), choice)
            alive = sorted(seen.values(), key=lambda c: -c.fitness)[: self.parents]
        return alive[0]

    def _halved(self, best: _Choice, group: Tensor, rng: np.random.Generator) -> _Choice | None:
        """A random half of all sentences of each class of the group: other starting points."""
        chosen_CP = best.chosen_CP.clone()
        draw_gP = torch.from_numpy(rng.random((1 if self.shared else len(group), chosen_CP.shape[1])) < 0.5)
        chosen_CP[group] = self.real_CP[group] & draw_gP
        return self._born(chosen_CP, best, group) if chosen_CP.any(1).all() else None

    def _edited(self, parent: _Choice, group: Tensor, rng: np.random.Generator, adds: int, drops: int) -> _Choice | None:
        """Take `drops` sentences out and `adds` in, in classes of the group; None where that leaves the choice as it was."""
        chosen_CP = parent.chosen_CP.clone()
        for value, times in ((False, drops), (True, adds)):
            for _ in range(times):
                c = int(group[rng.integers(len(group))])
                may = (self.real_CP[c] & (chosen_CP[c] != value)).nonzero().squeeze(1)
                if len(may) > (0 if value else 1):  # a class keeps at least one sentence
                    chosen_CP[slice(None) if self.shared else c, int(may[rng.integers(len(may))])] = value
        if torch.equal(chosen_CP, parent.chosen_CP):
            return None
        return self._born(chosen_CP, parent, group)

    def _crossed(self, alive: list[_Choice], group: Tensor, rng: np.random.Generator) -> _Choice | None:
        """Every class of the group takes its sentences from one of two parents (a shared choice: every sentence does)."""
        a, b = rng.choice(len(alive), 2, replace=False)
        chosen_CP = alive[a].chosen_CP.clone()
        other_CP = alive[b].chosen_CP
        if self.shared:
            swap_P = torch.from_numpy(rng.random(chosen_CP.shape[1]) < 0.5)
            chosen_CP[:, swap_P] = other_CP[:, swap_P]
        else:
            swap = group[torch.from_numpy(rng.random(len(group)) < 0.5)]
            chosen_CP[swap] = other_CP[swap]
        return self._born(chosen_CP, alive[a], group) if chosen_CP.any(1).all() else None

    def _by_loss(self, choice: _Choice) -> list[int]:
        """Classes that have shots, the one with the greatest mean loss first."""
        loss_N = cross_entropy(choice.logits_NC, self._y, reduction="none")
        mean = {int(c): float(loss_N[self._y == c].mean()) for c in self._y.unique()}
        return sorted(mean, key=lambda c: -mean[c])

    def _confused(self, choice: _Choice, order: list[int]) -> list[int]:
        """The first class of `order` and those among the others that its shots are most probably taken for: 2.5 ln C in all."""
        size = max(2, int(2.5 * np.log(len(choice.chosen_CP))))
        taken_C = choice.logits_NC[self._y == order[0]].softmax(1).mean(0)
        return [order[0], *sorted(order[1:], key=lambda c: -float(taken_C[c]))[: size - 1]]


@dataclass(frozen=True)
class _Choice:
    chosen_CP: Bool[Tensor, "C P"]
    logits_NC: Float[Tensor, "N C"]
    fitness: float


def fitness(logits_NC: Float[Tensor, "N C"], y_N: Int[Tensor, " N"], weight: float = 1.0) -> float:
    """Accuracy minus weight x mean cross-entropy: the second part goes on telling choices apart where few shots are all right.

    >>> fitness(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), weight=0.0)
    1.0
    """
    right = (logits_NC.argmax(1) == y_N).double().mean()
    return float(right - weight * cross_entropy(logits_NC.double(), y_N))
