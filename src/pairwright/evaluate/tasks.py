"""The three ways to ask: which texts go with which pictures (retrieve), which class is it (classify), and after a few examples (few_shot).

A task gets an `Asker` (a model behind a cache of features), the questions of a suite and a `Plan`, and writes numbers to a `Tally`. part
is put behind each metric's name (``[de]``). Tasks see embeddings and truth, never files, so nothing here can open a split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pairwright.core.features import Features
from pairwright.data.text.templates import fill, templates
from pairwright.evaluate.asker import Asker
from pairwright.evaluate.contest import Lessons
from pairwright.evaluate.intervals import calibration, macro
from pairwright.evaluate.problem import Pool
from pairwright.evaluate.settings import Part, shots
from pairwright.evaluate.shots import halves
from pairwright.evaluate.tally import Tally, chance_in_top_k
from pairwright.metrics.ranks import ranks
from pairwright.metrics.recall_at_k import recall_at_k
from pairwright.metrics.topk_accuracy import topk_accuracy

Heads = Mapping[str, Callable[[], Any]]
ECE_BINS = 15


@dataclass(frozen=True)
class Plan:
    """How few-shot learning is repeated: seeds, shots per class, and heads (name -> a function that makes a fresh one)."""

    seeds: Sequence[int]
    shots: Sequence[int]
    heads: Heads


def retrieve(asker: Asker, q: Any, suite: Any, plan: Plan, tally: Tally, part: str) -> None:
    """Recall@k in both directions: text finds picture (``image_retrieval_recall@k``), picture finds text (``text_retrieval_recall@k``)."""
    used_T = np.unique(q.true_P2[:, 1])
    z_ND, z_TD = asker.images(q.image_N), asker.texts([fill(templates(suite.templates)[0], t) for t in q.text_T])
    scores_NT = asker.similarity(z_ND, z_TD)
    picture_P, text_P = q.true_P2.T
    texts_of_N = [text_P[picture_P == i] for i in range(len(q))]
    pictures_of_T = {t: picture_P[text_P == t] for t in used_T}
    to_text = ranks(scores_NT, texts_of_N)
    to_picture = ranks(scores_NT.T[torch.from_numpy(used_T)], [pictures_of_T[t] for t in used_T])
    text_ids = [q.text_T[t] for t in used_T]
    text_groups = [q.group_N[pictures_of_T[t][0]] for t in used_T]
    for k in suite.ks:
        at_N, at_T = (recall_at_k(r, k=k, items=True) for r in (to_text, to_picture))
        chance = chance_in_top_k([len(pictures_of_T[t]) for t in used_T], len(q), k)
        tally.add(f"image_retrieval_recall@{k}{part}", at_T, text_ids, text_groups, chance=chance)
        chance = chance_in_top_k([len(t) for t in texts_of_N], len(q.text_T), k)
        tally.add(f"text_retrieval_recall@{k}{part}", at_N, q.id_N, q.group_N, chance=chance)
    if not part:
        tally.answers = _answers(q, scores_NT, torch.softmax(asker.scaled(scores_NT), 1), [int(t[0]) for t in texts_of_N])


def classify(asker: Asker, q: Any, suite: Any, plan: Plan, tally: Tally, part: str) -> None:
    """Zero-shot accuracy at each k, mean recall per class, and the calibration error of the model's own probabilities."""
    y_N = q.label_N
    text = asker.class_text(q.text_T, suite.templates)
    scores_NC = asker.similarity(asker.images(q.image_N), text.W_CD)
    probs_NC = torch.softmax(asker.scaled(scores_NC).double(), 1)
    correct_N = topk_accuracy(scores_NC, y_N, items=True)
    for k in suite.ks:
        if k <= len(q.text_T):
            tally.add(f"acc{k}{part}", topk_accuracy(scores_NC, y_N, k, items=True), q.id_N, q.group_N, chance=k / len(q.text_T))
    tally.add(f"mean_per_class_recall{part}", correct_N, q.id_N, q.group_N, statistic=macro(correct_N, y_N), chance=1 / len(q.text_T))
    sure_N = probs_NC.max(1).values.numpy()
    tally.add(f"ece{part}", sure_N - correct_N, q.id_N, q.group_N, statistic=calibration(sure_N, correct_N, ECE_BINS))
    if not part:
        tally.answers = _answers(q, scores_NC, probs_NC, y_N)


def few_shot(asker: Asker, q: Any, suite: Any, plan: Plan, tally: Tally, part: str) -> None:
    """Accuracy of each head after k labelled pictures per class, over seeds, and of zero-shot. Heads keep their validation-free defaults.

    The pictures that are asked belong to groups no learner sees. Only pictures that some seed draws are embedded.
    """
    problem = shots(part_of(asker, q, suite))
    (exam,) = problem.exams
    lessons = Lessons(problem, plan.shots, plan.seeds, tuned=False)
    right = {("zero_shot", 0, 0): exam.mark(("zero_shot", 0, 0), asker.similarity(exam.x.z_ND, problem.text.W_CD))}
    for seed in plan.seeds:
        for k in plan.shots:
            train, _ = lessons(k, seed, exam.classes)
            for name, head in plan.heads.items():
                right[name, k, seed] = exam.mark((name, k, seed), head().fit(train, problem.text).logits(exam.x))
    ids, groups = list(exam.x.ids), list(exam.group_N)
    for name, k in dict.fromkeys((n, k) for n, k, _ in right):
        runs = [s for n, kk, s in right if (n, kk) == (name, k)]
        right_M = np.concatenate([right[name, k, s] for s in runs])
        metric = f"acc1[{name},k={k}{',' + part.strip('[]') if part else ''}]"
        tally.add(metric, right_M, ids * len(runs), groups * len(runs), seed_M=np.repeat(runs, len(ids)), chance=exam.chance)


def part_of(asker: Asker, q: Any, suite: Any) -> Part:
    """The questions of a few-shot suite as rows to learn from and rows that are asked; classes that miss one of the two are not asked."""
    y_N, text = q.label_N, asker.class_text(q.text_T, suite.templates)
    learn_N = q.learn_N if q.learn_N is not None else halves(y_N.tolist(), q.group_N)
    pool, asked = np.flatnonzero(learn_N), np.flatnonzero(~learn_N)
    asked = asked[np.isin(y_N[asked], y_N[pool])]
    if not len(asked):
        raise ValueError(f"suite {suite.name}: no class has pictures on both sides of the split; it needs two groups per class")

    def make(rows: Sequence[int]) -> Features:
        z_ND = asker.images([q.image_N[i] for i in rows])
        return Features(z_ND, y_N[list(rows)], tuple(q.id_N[i] for i in rows), asker.fingerprint)

    learn = Pool(y_N[pool].tolist(), [q.id_N[i] for i in pool], lambda rows: make([pool[i] for i in rows]))
    group = lambda rows: [q.group_N[i] for i in rows]
    return Part(suite.name, text, learn, group(pool), make(asked.tolist()), group(asked))


def default_heads() -> Heads:
    """The heads that every few-shot suite tries, each with its own defaults."""
    from pairwright.heads.cache.tip_adapter import TipAdapter
    from pairwright.heads.linear.gda import GDA
    from pairwright.heads.linear.logistic import Logistic

    return {"tip_adapter": TipAdapter, "gda": GDA, "logistic": Logistic}


def _answers(q: Any, scores_NT: Tensor, probs_NT: Tensor, truth_N: Sequence[int]) -> pa.Table:
    """For each picture: what was said (and how sure), what was right, and the place of what was right (1 is best)."""
    sure_N, said_N = probs_NT.max(1)
    own_N1 = scores_NT.gather(1, torch.as_tensor(np.asarray(truth_N))[:, None])
    rank_N = (scores_NT >= own_N1).sum(1)
    return pa.table(
        {
            "id": q.id_N,
            "group": q.group_N,
            "said": [q.text_T[j] for j in said_N.tolist()],
            "confidence": sure_N.double().numpy(),
            "truth": [q.text_T[j] for j in truth_N],
            "rank": rank_N.numpy(),
        }
    )


TASKS: dict[str, Callable[..., None]] = {"retrieve": retrieve, "classify": classify, "few_shot": few_shot}
