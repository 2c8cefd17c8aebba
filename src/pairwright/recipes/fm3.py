"""FM3: several tasks with a few labels each on one model: contrastive tuning on pairs, then adapters from one generator, a head each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pairwright.core import dist
from pairwright.core.card import Card
from pairwright.core.encoded import Encoded, Pairs, Views
from pairwright.core.features import Features
from pairwright.core.numerics import NEG, full
from pairwright.data.sampler.class_pairs import ClassPairs
from pairwright.heads.linear.logistic import Logistic
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.models.dual import DualEncoder
from pairwright.recipes._fine_tune import How, Rows, class_ids, fine_tune
from pairwright.train.objective import Sum
from pairwright.train.stage import Batch
from pairwright.tune.weights.hyper_adapter import HyperAdapter

CARD = Card(
    name="FM3 (few-shot multimodal multitask multilingual learning)",
    symbol="FM3",
    paper="fm3",
    title="Few-shot Multimodal Multitask Multilingual Learning",
    year=2023,
    arxiv="2303.12489",
    where="the three parts named in the abstract",
    equation="1: -1/|P(i)| sum_{j in P(i)} log softmax_{j != i}(scale z_i . z_j) over images and class names of pairs from one task;  "
    "2: adapters by HyperAdapter, cross-entropy of a linear head a task;  3: logistic regression a task on the adapted features",
    says="Fine-tuning with contrastive pairs, adapters from task-specific hypernetworks and a head for each task serve many vision and "
    "language tasks from few examples, without prompts and at the price of a plain forward pass.",
    needs="a few labelled rows for each of several tasks, class names in any language; gradients through the towers",
    cost="two short fine-tunings; then a plain forward pass with small adapters, one more embedding and head a task",
    use_when="one model has to serve several related tasks with few labels each; tasks whose images or words the model knows badly",
    not_when="one task (clip_lora); tasks that the frozen features solve (a linear probe is free)",
    aliases=("few-shot multitask", "multitask adapters", "SetFit", "contrastive few-shot pairs", "multilingual few-shot"),
    neighbours=("tune/weights/hyper_adapter", "heads/linear/logistic", "losses/contrast/info_nce"),
    deviations=(
        "written from the abstract: pairs as in SetFit (arXiv 2209.11055), the generator of HyperFormer. Effect unknown",
        "rows are inputs of one tower and classes have names, so that a text task puts the text tower in the place of the images; question "
        "answering, entailment and entity recognition are not built in",
        "pairs are compared within a task: what is another class in one task may be the same thing in another",
        "rates, steps and widths are this file's own: the abstract names none",
        "a first control of the check, disturbances of its own for each task, left the contrastive stage a gain of 2.4 points (planted: "
        "13.5): pairs help a task by itself, too. The control now is labels at random",
    ),
    checks=("mechanism:fm3",),
)


@dataclass(frozen=True)
class Task:
    """Labelled rows: what the image tower eats (N, …), the place of each row's class in `names`."""

    x_N: Tensor
    y_N: Tensor
    names: Sequence[str]


@dataclass(eq=False)
class FM3:
    """Learn several classification tasks from a few rows each, on one model: `fit` tunes it in place, `logits` answers for one task.

    pair_steps, pair_lr: of the contrastive stage, in which both towers move; each step is of one task. steps, lr: of the stage in which
    the generator of adapters and a head a task move. Both are steps for each task; 0 leaves a stage out. scale: of the cosines in
    the contrastive stage. reduction: of the adapters. template: puts a class name into words. precision: ``auto``, ``fp32`` or ``bf16``.

    Learned: ``hyper_``, the adapters, now part of the model, and ``heads_``, by task.
    """

    pair_steps: int = 40
    pair_lr: float = 1e-5
    steps: int = 200
    lr: float = 3e-4
    batch: int = 32
    scale: float = 10.0
    reduction: int = 16
    template: str = "a photo of a {}"
    seed: int = 0
    precision: str = "auto"

    def fit(self, model: DualEncoder, tasks: Mapping[str, Task]) -> FM3:
        for name, task in tasks.items():
            if not len(task.x_N) == len(task.y_N) > 0 or not 0 <= int(task.y_N.min()) <= int(task.y_N.max()) < len(task.names):
                raise ValueError(f"the task {name!r} needs rows with a label from 0 to {len(task.names) - 1} each, the places of its names")
        if self.pair_steps:
            pairs = Turns([Paired(model, t, self.template, self.batch, self.seed) for t in tasks.values()])
            how = self._how(self.pair_steps * len(tasks), self.pair_lr)
            fine_tune(model, pairs, Sum({"pairs": OverPairs(self.scale)}), how, trainable=lambda name: name.startswith("towers."))
        self.hyper_ = HyperAdapter(tuple(tasks), self.reduction, towers=("image",), seed=self.seed)
        if self.steps:
            heads = Heads([Logistic().fit(features(model, t.x_N, t)) for t in tasks.values()])
            rows = Turns([Rows(t.x_N, t.y_N + s, batch=self.batch, seed=self.seed) for t, s in zip(tasks.values(), heads.starts)])
            how = self._how(self.steps * len(tasks), self.lr)
            fine_tune(model, rows, Sum({"heads": heads}), how, modifiers=[self.hyper_])
        else:
            self.hyper_.attach(model)
            self.hyper_.fold(model)
        self.heads_ = {}
        for name, task in tasks.items():
            self.hyper_.use(name)
            self.heads_[name] = Logistic().fit(features(model, task.x_N, task))
        return self

    def logits(self, model: DualEncoder, task: str, x_N: Tensor) -> Float[Tensor, "N C"]:
        """Class scores of new rows of one of the tasks; the model is left with that task's adapters."""
        if not hasattr(self, "heads_"):
            raise ValueError("this FM3 is not fitted yet: call fit(model, tasks) first")
        self.hyper_.use(task)
        return self.heads_[task].logits(features(model, x_N))

    def _how(self, steps: int, lr: float) -> How:
        return How(steps, lr, warmup=0.1, clip_norm=1.0, seed=self.seed, precise=self.precision)


@torch.no_grad()
def features(model: DualEncoder, x_N: Tensor, task: Task | None = None, chunk: int = 256) -> Features:
    """Rows as the model embeds them now, with the labels and class names of their task where it is given."""
    model.eval()
    z_ND = torch.cat([model.image(x.to(model.device)).z_BD.cpu() for x in x_N.split(chunk)])
    y_N, names = (None, ()) if task is None else (task.y_N, tuple(task.names))
    return Features(z_ND, y_N, encoder=model.fingerprint, classes=names)


class Paired:
    """Source of the contrastive stage for one task: pairs of its rows, each with the name of its class in words."""

    def __init__(self, model: DualEncoder, task: Task, template: str, batch: int, seed: int) -> None:
        batch = min(batch, 4 * len(task.y_N)) // 4 * 4
        self.task, self.sampler, self.batch_size = task, ClassPairs(task.y_N.cpu().numpy(), batch, seed=seed), batch
        self.ids_CL = class_ids(model, task.names, template)

    def spec(self) -> Mapping[str, Any]:
        return self.sampler.spec()

    def batches(self, start: int) -> Iterator[Batch]:
        epoch, at = divmod(start, len(self.sampler.batches(0)))
        for e in itertools.count(epoch):
            for rows in self.sampler.batches(e)[at if e == epoch else 0 :]:
                share = len(rows) // dist.world()
                i = torch.from_numpy(rows[dist.rank() * share :][:share])
                yield Batch({"image": self.task.x_N[i], "text": self.ids_CL[self.task.y_N[i]]}, group_B=self.task.y_N[i])


class Turns:
    """Several sources in turn: step s is a batch of source s mod T."""

    def __init__(self, sources: Sequence[Any]) -> None:
        self.sources, self.batch_size = sources, max(s.batch_size for s in sources)

    def spec(self) -> Mapping[str, Any]:
        return {"kind": "turns", "of": [s.spec() for s in self.sources]}

    def batches(self, start: int) -> Iterator[Batch]:
        n = len(self.sources)
        streams = [s.batches((start - k + n - 1) // n) for k, s in enumerate(self.sources)]
        for step in itertools.count(start):
            yield next(streams[step % n])


class OverPairs:
    """SupCon over images and texts alike: every row of both views against all others, those of its group are its positives."""

    needs = ("image", "text")

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, views: Views) -> Tensor:
        both = Encoded.cat([Encoded(views[name].z_BD) for name in self.needs])
        group_R = views.group_B.repeat(2)
        others_RR = ~torch.eye(len(both), dtype=torch.bool, device=group_R.device)
        logits_RR = self.scale * both.z_BD @ both.z_BD.T
        return InfoNCE().rows(Pairs(both, both, logits_RR, (group_R[:, None] == group_R) & others_RR, others_RR)).mean()


class Heads(nn.Module):
    """Cross-entropy of a linear head a task, all in one matrix; labels count through the classes of all tasks from `starts` on."""

    needs = ("image",)

    def __init__(self, probes: Sequence[Logistic]) -> None:
        super().__init__()
        sizes = [len(p.bias_) for p in probes]
        self.starts = [0, *itertools.accumulate(sizes)][:-1]
        self.weight_KD = nn.Parameter(torch.cat([p.weight_ for p in probes]))
        self.bias_K = nn.Parameter(torch.cat([p.bias_ for p in probes]).clamp_min(NEG))  # -inf where a class has no row
        self.register_buffer("task_K", torch.arange(len(probes)).repeat_interleave(torch.tensor(sizes)))

    def forward(self, views: Views) -> Tensor:
        y_B = views.group_B
        logits_BK = full(views["image"].z_BD) @ self.weight_KD.T + self.bias_K
        return cross_entropy(logits_BK.masked_fill(self.task_K[y_B][:, None] != self.task_K, NEG), y_B)
