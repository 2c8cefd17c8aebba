"""The demo's page: which pictures, numbers and words stand on it. Layout is the report's, measuring is evaluate's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pairwright.core.numerics import seed_of
from pairwright.core.provenance import commit, processor
from pairwright.data import packs
from pairwright.evaluate import plots, report
from pairwright.evaluate.protocol import open_rows
from pairwright.evaluate.result import Number

if TYPE_CHECKING:
    from pairwright.recipes.demo import Run

WORDS = (
    "a red apple", "something to cut paper with", "sailing on the sea", "a cold winter day", "musical instrument",
    "a gift for a birthday", "keep it secret", "a wild animal with stripes",
)  # fmt: skip
LIKE = ("sunflower", "violin", "rocket", "sailboat", "red apple", "owl")
HEADS = {"tip_adapter": "Tip-Adapter", "gda": "GDA", "logistic": "logistic"}
TILES = 6
# suite -> metric, title, explanation
CARDS = {
    "new-concept-names": ("acc5", "New concepts: the right name in the top 5",
                          "Emoji concepts that were held out at every vendor; the name among all held-out names."),
    "icons-flat-color": ("acc10", "New icon set: the right name in the top 10",
                         "A whole icon set the model never saw; the name among all names of the set."),
    "new-concept-retrieval": ("image_retrieval_recall@5", "Words find their picture in the top 5",
                              "Each held-out name against all pictures of held-out concepts."),
    "new-concept-subgroups": ("acc1", "Which subgroup is it? No labels",
                              "Held-out concepts into about 100 subgroups, such as “birds” or “tools”; first answer counts."),
    "new-concept-few-shot": ("acc1[tip_adapter,k=8]", "Which group is it? 8 labels each",
                             "Such as “animals & nature”. Tip-Adapter trains nothing; asked on held-out concepts without labels."),
    "openclipart-retrieval": ("text_retrieval_recall@5", "Clip art: its own title in the top 5",
                              "Held-out clip art among all held-out titles."),
}  # fmt: skip
RETRIEVAL = {
    "new-concept-retrieval": "new concepts (Noto, Twemoji)",
    "new-icons-retrieval": "new icon set (Flat Color)",
    "openclipart-retrieval": "held-out clip art",
}


def page(run: Run) -> str:
    """The whole page as HTML."""
    n, shown = len(run.collection), " + ".join(dict.fromkeys(run.collection.rows["source"].to_pylist()))
    params = sum(p.numel() for p in run.model.parameters()) / 1e6
    chips = [
        f"{params:.1f} M parameters",
        f"{n:,} pictures: {shown}",
        f"{torch.get_num_threads()} CPU {'thread' if torch.get_num_threads() == 1 else 'threads'}",
        f"{sum(run.seconds.values()):.0f} s in all",
        _code(),
    ]
    parts = (numbers, by_words, by_picture, zero_shot, behaviour, retrieval, failures, data, machine, commands)
    return report.render(
        f"What {run.model_name} sees in {n:,} pictures",
        "Search and tag a collection of icons, emoji and clip art in plain words. Every number comes from pictures or concepts the model "
        "was never trained on, and carries a 95% interval.",
        chips,
        [part(run) for part in parts],
        f"Made by “{run.command}” with pairwright {_code()}. Whose pictures these are stands under “Data and licences”.",
    )


def numbers(run: Run) -> report.Cards:
    """The headline of each suite, in words."""
    found = ((run.results[suite].metrics, *card) for suite, card in CARDS.items() if suite in run.results)
    cards = [(title, metrics[key], note) for metrics, key, title, note in found if key in metrics]
    lead = "The dot is the measured value, the band its 95% interval (a bootstrap over concepts), the tick what guessing would give."
    return report.Cards("numbers", "Numbers", "How good is it?", lead, cards)


def by_words(run: Run) -> report.Gallery:
    scores_QN = run.asker.similarity(run.asker.texts(list(WORDS)), run.collection.z_ND)
    rows = [(words, _best(run, scores_N)) for words, scores_N in zip(WORDS, scores_QN, strict=True)]
    lead = "Any words will do; the closest pictures come first, one for each concept. The bar is the cosine similarity."
    return report.Gallery("words", "By words", "Search by words", lead, rows)


def by_picture(run: Run) -> report.Gallery:
    names, rows = [n.casefold() for n in run.collection.rows["name"].to_pylist()], []
    for i in (names.index(name) for name in LIKE if name in names):
        scores_N = run.asker.similarity(run.collection.z_ND[i : i + 1], run.collection.z_ND)[0]
        scores_N[i] = -torch.inf
        rows.append((_tile(run, i), _best(run, scores_N, like=i)))
    lead = "A picture in place of words. ✓ marks another drawing of the same thing; then come things that are like it."
    return report.Gallery("pictures", "By picture", "Search by picture", lead, rows)


def _best(run: Run, scores_N: torch.Tensor, like: int | None = None) -> list[report.Tile]:
    """The best picture of each concept, best first."""
    groups, tiles = run.collection.rows["group"].to_pylist(), dict[str, report.Tile]()
    for i in scores_N.argsort(descending=True).tolist():
        if groups[i] not in tiles:
            tiles[groups[i]] = _tile(run, i, float(scores_N[i]), "right" if like is not None and groups[i] == groups[like] else "")
        if len(tiles) == TILES:
            break
    return list(tiles.values())


def _tile(run: Run, i: int, score: float | None = None, mark: str = "") -> report.Tile:
    row = run.collection.rows.slice(i, 1).to_pylist()[0]
    return report.Tile(row["image"], f"{row['name']} ({row['source']})", row["name"], score, mark)


def zero_shot(run: Run) -> report.Guesses:
    """Held-out pictures, chosen by hash, with the model's probabilities for the subgroups."""
    suite, q = _questions("new-concept-subgroups")
    text = run.asker.class_text(q.text_T, suite.templates)
    one_each = {q.group_N[i]: i for i in range(len(q))}
    chosen = sorted(one_each.values(), key=lambda i: seed_of("example", q.group_N[i]))[:9]
    z_ND = run.asker.images([q.image_N[i] for i in chosen])
    probs_NC = torch.softmax(run.asker.scaled(run.asker.similarity(z_ND, text.W_CD)), 1)
    names = dict(zip(run.collection.rows["id"].to_pylist(), run.collection.rows["name"].to_pylist(), strict=True))
    examples = []
    for i, probs_C in zip(chosen, probs_NC, strict=True):
        name = names.get(q.id_N[i], q.id_N[i])
        best = probs_C.argsort(descending=True)[:4].tolist()
        examples.append((report.Tile(q.image_N[i], name, name), [(q.text_T[j], float(probs_C[j]), j == q.label_N[i]) for j in best]))
    lead = (
        f"Nothing was learnt here: the names of {len(q.text_T)} classes are the classifier. Nine held-out pictures, drawn by a fixed hash "
        "and not by hand."
    )
    return report.Guesses("zero-shot", "Zero-shot", "Classify without labels", lead, examples)


def behaviour(run: Run) -> report.Plots:
    """Few-shot curve, reliability diagram, similarity histogram."""
    named = run.results["new-concept-names"]
    answers = named.answers.to_pydict()
    matching, other = similarities(run)
    sure = plots.reliability("reliability", "Reliability diagram", answers["confidence"], np.array(answers["rank"]) == 1)
    pairs = {"matching": matching, "other": other}
    lead = "What a few labels bring, how far its confidence can be trusted, and what separates a match from the rest."
    return report.Plots("plots", "Behaviour", "How it behaves", lead, [
        few_shot(run),
        ("Is it as sure as it is right?", sure, "Names of held-out concepts. On the dashed line, 70% sure means right 70% of the time. "
         f"Expected calibration error {report.percent(named.metrics['ece'].value)}."),
        ("Matching and other pairs", plots.histogram("similarity", "Histogram of similarities", pairs, xlabel="cosine similarity"),
         "Held-out pictures with their own name, and with every other name. The less the two overlap, the better the search."),
    ])  # fmt: skip


def few_shot(run: Run) -> tuple[str, str, str]:
    few = run.results["new-concept-few-shot"]
    curves = []
    for head, label in HEADS.items():
        points = [(k, few.metrics[f"acc1[{head},k={k}]"]) for k in few.config["shots"]]
        low, high = ([p.value if (edge := getattr(p, side)) is None else edge for _, p in points] for side in ("low", "high"))
        curves.append(plots.Curve(label, [k for k, _ in points], [p.value for _, p in points], low, high))
    base = ("no labels", few.metrics["acc1[zero_shot,k=0]"].value)
    title = "Accuracy by labelled pictures per group"
    svg = plots.curve("few-shot", title, curves, base, xlabel="labelled pictures per group", ylabel="accuracy")
    text = (
        f"Which group of emoji is it? Asked on {few.metrics[few.headline].groups} held-out concepts for which no label was given. Lines: "
        f"means over {len(few.seeds)} draws of the labelled pictures; bands: 95% intervals over draws and concepts. Every head keeps its "
        "default settings: nothing was tuned on these pictures."
    )
    return "A few labels", svg, text


def similarities(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of held-out pictures with their own name, and with all other names."""
    _, q = _questions("new-concept-retrieval")
    scores_NT = run.asker.similarity(run.asker.images(q.image_N), run.asker.texts(q.text_T)).numpy()
    own_NT = np.zeros(scores_NT.shape, bool)
    own_NT[tuple(q.true_P2.T)] = True
    return scores_NT[own_NT], scores_NT[~own_NT]


def retrieval(run: Run) -> report.Table:
    rows: list[Sequence[str | Number]] = []
    for suite, label in RETRIEVAL.items():
        if suite in run.results:
            m = run.results[suite].metrics
            cells = [m[f"{way}_retrieval_recall@{k}"] for way in ("image", "text") for k in (1, 5, 10)]
            rows.append([label, *cells, f"{cells[-1].n:,}"])
    spans = (("", 1), ("words → picture", 3), ("picture → words", 3), ("", 1))
    header = ["", *(f"R@{k}" for k in (1, 5, 10)) , *(f"R@{k}" for k in (1, 5, 10)), "pictures"]  # fmt: skip
    lead = "Held-out pictures against their own names, both ways."
    note = (
        "R@k: the share of queries with a right answer among the first k. Pictures that share a name are all right answers, and equal "
        "scores count as drawn in random order. Small figures: 95% intervals."
    )
    return report.Table("retrieval", "Retrieval", "Finding the one that belongs", lead, header, spans, rows, note)


def failures(run: Run) -> report.Failures:
    """The most confident mistakes, one per concept."""
    pictures = dict(zip(run.collection.rows["id"].to_pylist(), run.collection.rows["image"].to_pylist(), strict=True))
    answers = run.results["new-concept-names"].answers.to_pylist()
    wrong = sorted((a for a in answers if a["rank"] > 1 and a["id"] in pictures), key=lambda a: -a["confidence"])
    first: dict[str, Any] = {}
    for a in wrong:
        first.setdefault(a["group"], a)
    worst = list(first.values())[:12]
    found = [(report.Tile(pictures[a["id"]], a["truth"]), a["said"], a["confidence"], a["truth"], a["rank"]) for a in worst]
    lead = f"The {len(worst)} most confident mistakes among the held-out concepts, one for each concept."
    return report.Failures("failures", "Failures", "Where it is wrong, and sure of it", lead, found)


def data(run: Run) -> report.Table:
    shown, rows = set(run.collection.rows["source"].to_pylist()), []
    about = {name: facts for r in run.results.values() for name, facts in r.data["packs"].items()}
    for name in run.packs:
        p = packs.PACKS[name]
        use = "searched and shown" if name in shown else "names and keywords" if p.role == "text" else "measured only"
        count = f"{about[name]['rows']:,}" if name in about else "–"
        rows.append([name, f"{p.package} {p.version}", count, use, p.licence, p.attribution])
    lead = "Public packages, pinned by checksum. Only pictures whose licence allows it stand on this page."
    header = ["pack", "package", "pictures", "use here", "licence", "attribution"]
    return report.Table("data", "Data", "Data and licences", lead, header, (), rows)


def machine(run: Run) -> report.Facts:
    first = next(iter(run.results.values()))
    facts = {
        "processor": processor(),
        "threads": str(torch.get_num_threads()),
        "system": first.versions["platform"],
        "model": f"{run.model_name} · {run.asker.fingerprint}",
        "code": _code(),
        **{k: v for k, v in first.versions.items() if k != "platform"},
        **{f"time for {phase}": f"{s:.1f} s" for phase, s in run.seconds.items()},
    }
    if run.asker.store.embedded:
        facts["embedding"] = f"{run.asker.store.embedded / run.asker.seconds:,.0f} items a second"
    return report.Facts("machine", "Machine", "Machine and versions", "What ran, where, and how long it took.", facts)


def commands(run: Run) -> report.Commands:
    lead = "This page again, or the same on your own pictures."
    return report.Commands("commands", "Commands", "Do it yourself", lead, [
        ("Make this page again (quick: pictures and features are cached)", run.command),
        ("Search your own folder", 'pairwright search PATH "red apple"'),
        ("Classify with your own labels", 'pairwright classify PATH --labels "cat,dog"'),
        ("Measure a model on a suite, with intervals", f"pairwright evaluate unseen-concept --model {run.model_name}"),
    ])  # fmt: skip


def _questions(name: str) -> tuple[Any, Any]:
    """A suite of the demo and what it asks."""
    from pairwright.recipes.demo import SUITES

    suite = next(s for s in SUITES if s.name == name)
    return suite, suite.ask(*open_rows(suite)[:2])[""]


def _code() -> str:
    """The commit, short, with its ``+`` where files differ from it."""
    return commit()[:12] + ("+" if commit().endswith("+") else "")
