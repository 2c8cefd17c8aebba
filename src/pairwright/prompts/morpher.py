"""Morpher: prompt nodes, prompt words and a projector that put a frozen graph encoder into the space of a frozen text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pairwright.core import io
from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features, as_tensor
from pairwright.core.numerics import generator, unit
from pairwright.models.towers.graph import Graphs
from pairwright.prompts.fit import labels_of
from pairwright.prompts.graph_tokens import start_nodes, with_nodes
from pairwright.prompts.tokens import check_fitted, encode_with, frozen, prompt_ids, start_tokens

CARD = Card(
    name="Morpher (multi-modal prompt learning for graph neural networks)",
    symbol="Morpher",
    paper="morpher",
    title="Can Graph Neural Networks Learn Language with Extremely Weak Text Supervision?",
    year=2024,
    arxiv="2412.08174",
    where="section 4; link rule, training and settings as in the released code",
    equation="z = unit(tanh(P g([G; tokens]))),  w_c = unit(text([start] v [name of c]) - mean_c' text_c'),  CE(z W^T / temperature, y):  "
    "P alone first, on plain graphs and the starting words, then tokens, v and P together",
    says="With both encoders frozen, prompts on both sides and a projector put graphs into the text space from few labelled graphs whose "
    "only text is the class name, and classes without a labelled graph are then found by their name.",
    needs="few labelled graphs + a frozen graph encoder + class names + a frozen text tower (with token embeddings)",
    cost="both towers forward and backward on the few graphs and C prompts in each step; then that of the graph encoder on T more nodes",
    use_when="an encoder of something else than images, pretrained without text, has to classify by name, from a handful of labels",
    not_when="there are many paired texts (train a tower: recipes/clip), or only known classes count (a linear head on its features)",
    aliases=("graph prompts", "graph-text alignment", "CLIP for graphs", "zero-shot graph classification", "cross-modal prompts"),
    neighbours=("prompts/coop", "prompts/maple", "prompts/deep_prefix"),
    deviations=(
        "class text is the text tower's own embedding; the paper averages the outputs of a language model. New classes are centred by the "
        "mean of the classes in training, so that a class's text does not depend on the others asked for",
        "graph embeddings enter the projector at unit length, so that any tower serves; the code takes them as they are. Effect unknown",
        "every step sees all of the few graphs and moves prompts and projector at once, and the last step is kept; the code draws batches "
        "of 16, drops half of the projector's inputs and picks an epoch on validation data. Effect unknown",
        "one weight decay for all; the code has a greater one for the projector. Effect unknown",
        "not shown here: over eight choices of two new classes, they are found by name in 91% of cases with prompts and 83% with the "
        "projector alone, but not in two of five seeds, where the projector alone is at 88 and 95% already; with permuted names both are "
        "below chance, 3 points apart; on classes with 5 labelled graphs each, prompts lose 5 points. Three new classes of nine, and a "
        "shift of all node features, which the projector makes up for by itself, were tried too",
    ),
    checks=("mechanism:morpher",),
)


@dataclass
class Morpher:
    """Attach a graph encoder to a text tower from few labelled graphs: learned nodes, learned words and a projector, both encoders frozen.

    context: the template whose words in front of the class name are the start, or a number of random tokens. nodes: learned nodes put into
    every graph; 0 leaves graphs as they are. inner, cross: the cosine from which on they are linked to each other and to a graph's nodes.
    warm: steps of the projector alone; steps: of all together, 0 leaves projector and starting prompts. first_lr, lr: of the two.

    `fit` learns ``nodes_`` (T, F), ``context_`` (M, E), ``map_`` (E, D) and ``bias_``. Classify with `embed` and `text`, which any head
    takes: new classes by their names.
    """

    context: int | str = "a graph with property {}"
    nodes: int = 10
    inner: float = 0.6
    cross: float = 0.1
    temperature: float = 2.0
    warm: int = 500
    steps: int = 300
    first_lr: float = 1e-2
    lr: float = 1e-3
    decay: float = 1e-3
    seed: int = 0

    def fit(self, model: Any, tower: nn.Module, names: Sequence[str], train: Graphs, y_N: Int[Tensor, " N"]) -> Morpher:
        """Learn from labelled graphs; label c is names[c]. model: has the text tower; tower: the graph encoder, Graphs -> Encoded."""
        y_N = labels_of(Features(torch.zeros(len(train), 1), as_tensor(y_N, torch.int64)), len(names), self).to(model.device)
        ids_CL, M = prompt_ids(model, names, self.context)
        self.encoder_, train = model.fingerprint, train.to(model.device)
        self.nodes_ = start_nodes(self.nodes, train.node_BNF.shape[-1], self.seed).to(model.device)
        self.context_ = start_tokens(model, ids_CL, M, self.context, False, self.seed)
        with frozen(model), frozen(tower):
            with torch.no_grad():
                plain_NE = tower(train).z_BD
                start_CD = encode_with(model, ids_CL, self.context_).z_BD
            E, D, rng = plain_NE.shape[1], start_CD.shape[1], generator("projector", self.seed)
            self.map_ = ((2 * torch.rand(E, D, generator=rng) - 1) / E**0.5).to(model.device)
            self.bias_ = torch.zeros(D, device=model.device)
            alone = lambda: self._loss(plain_NE, start_CD, y_N)
            joint = lambda: self._loss(self._see(tower, train), encode_with(model, ids_CL, self.context_).z_BD, y_N)
            losses = self._descend(alone, ("map_", "bias_"), self.first_lr, self.warm)
            # without joint steps the prompts are switched off: nothing has been fitted to graphs with random nodes in them
            self.nodes_ = self.nodes_ if self.steps else self.nodes_[:0]
            losses += self._descend(joint, ("map_", "bias_", "nodes_", "context_"), self.lr, self.steps)
            with torch.no_grad():
                self.centre_ = encode_with(model, ids_CL, self.context_).z_BD.mean(0)
        self.losses_ = torch.stack(losses) if losses else torch.zeros(0)
        return self

    @torch.no_grad()
    def embed(self, model: Any, tower: nn.Module, graphs: Graphs, y_N: Tensor | None = None) -> Features:
        """Features of graphs in the space of `text`."""
        check_fitted(self, model)
        with frozen(tower):
            z_ND = self._project(self._see(tower, graphs.to(model.device)))
        return Features(z_ND.cpu(), y_N, encoder=self.fingerprint)

    @torch.no_grad()
    def text(self, model: Any, names: Sequence[str]) -> ClassText:
        """The class text of some class names, of training or new, for heads on `embed`."""
        check_fitted(self, model)
        with frozen(model):
            text_CD = encode_with(model, prompt_ids(model, names, self.context)[0], self.context_).z_BD
        return ClassText(unit(text_CD - self.centre_).cpu(), tuple(names), encoder=self.fingerprint, scale=1 / self.temperature)

    @property
    def fingerprint(self) -> str:
        """Of the text tower with these prompts and this projector."""
        own = {n: t for n, t in vars(self).items() if isinstance(t, Tensor) and n != "losses_"}
        return f"{self.encoder_}+{io.hash_tensors(own)[:8]}"

    def _see(self, tower: nn.Module, graphs: Graphs) -> Float[Tensor, "N E"]:
        return tower(with_nodes(graphs, self.nodes_, self.inner, self.cross)).z_BD

    def _project(self, z_NE: Float[Tensor, "N E"]) -> Float[Tensor, "N D"]:
        return unit(torch.tanh(z_NE @ self.map_ + self.bias_))

    def _loss(self, z_NE: Tensor, text_CD: Tensor, y_N: Tensor) -> Float[Tensor, ""]:
        return cross_entropy(self._project(z_NE) @ unit(text_CD - text_CD.mean(0)).T / self.temperature, y_N)

    def _descend(self, loss: Any, learned: Sequence[str], lr: float, steps: int) -> list[Tensor]:
        leaves = [getattr(self, name).requires_grad_(getattr(self, name).numel() > 0) for name in learned]
        moving = [p for p in leaves if p.requires_grad]
        optimiser, losses = torch.optim.Adam(moving, lr, weight_decay=self.decay), []
        for _ in range(steps):
            value = loss()
            for p, g in zip(moving, torch.autograd.grad(value, moving)):
                p.grad = g
            optimiser.step()
            losses.append(value.detach())
        for name in learned:
            setattr(self, name, getattr(self, name).detach())
        return losses
