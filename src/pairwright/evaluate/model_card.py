"""A model card in Markdown, written from a run's record and its evaluation results: no number in it is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pairwright.core.provenance import processor
from pairwright.data.packs import PACKS
from pairwright.evaluate.result import Number, Result

_FRONT = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
license: {licence}
tags: [clip, pairwright]
---
"""


def model_card(
    name: str,
    about: str,
    *,
    run: Mapping[str, Any],
    results: Sequence[Result],
    log: Sequence[Mapping[str, Any]] = (),
    bars: Mapping[str, tuple[str, float]] | None = None,
    notes: Sequence[str] = (),
    licence: str = "apache-2.0",
) -> str:
    """The card: what the model is, how to use it, results with intervals, how and on what it was trained, what it is not for.

    run: the run.json of the training. results: evaluations of exactly this model. log: rows of log.jsonl, for the last validation
    numbers and the speed. bars: suite -> (metric, the value it was meant to reach): shown beside the value. notes: limits, in words.
    """
    prints = {r.fingerprint for r in results}
    if len(prints) > 1:
        raise ValueError(f"these results are of {len(prints)} different models ({', '.join(sorted(prints))}): a card describes one")
    parts = [_FRONT.format(licence=licence), f"# {name}\n\n{about}\n", _use(name), _results(results, bars or {}), _training(run, log)]
    parts.append(_data(results))
    if notes:
        parts.append("## Limits\n\n" + "\n".join(f"- {n}" for n in notes) + "\n")
    return "\n".join(parts)


def _use(name: str) -> str:
    return f"""## Use

```python
import pairwright as pw

clip = pw.load("{name}")
images = pw.embed(clip, images="my_folder")
words = pw.embed(clip, texts=["a red apple"])
scores = words.z @ images.z.T
```

```bash
pairwright search my_folder "red apple"
pairwright classify picture.png --labels "cat,dog"
```
"""


def _results(results: Sequence[Result], bars: Mapping[str, tuple[str, float]]) -> str:
    if not results:
        return "## Results\n\nNot evaluated yet.\n"
    lines = ["## Results", "", "Held-out data, value with its 95% interval; chance in brackets.", ""]
    lines += ["| suite | what is asked | metric | value | aim | n |", "|---|---|---|---|---|---|"]
    for r in results:
        metric, aim = bars.get(r.suite, (r.headline, None))
        shown = "" if aim is None else f"{aim:.0%}{'' if r.metrics[metric].value >= aim else ' (not reached)'}"
        lines.append(
            f"| {r.suite} | {r.config['suite']['about']} | {metric} | {_percent(r.metrics[metric])} | {shown} | {r.metrics[metric].n} |"
        )
    first = results[0]
    lines += [
        "",
        f"Model fingerprint `{first.fingerprint}`; evaluated at commit `{first.commit[:12]}` on {first.device}, {processor()}.",
        "",
    ]
    return "\n".join(lines)


def _percent(x: Number) -> str:
    span = "" if x.low is None else f" [{x.low:.1%}, {x.high:.1%}]"
    chance = "" if x.chance is None else f" ({x.chance:.1%})"
    return f"{x.value:.1%}{span}{chance}"


def _training(run: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Training", "", "| stage | steps | batch | peak lr | weight decay | averaged |", "|---|---|---|---|---|---|"]
    for s in run["stages"]:
        o = s["optim"]
        lines.append(
            f"| {s['name']} | {s['steps']} | {s['data'].get('batch_size', '')} | {o['lr']:g} | {o['weight_decay']:g} | {s['ema'] or 'no'} |"
        )
    speeds = [row["samples/s"] for row in log if "samples/s" in row]
    seen = sum(s["steps"] * (s["data"].get("batch_size") or 0) for s in run["stages"])
    where = f"{run['precision']}, {run['device']}, {run['threads']} threads"
    pace = f", {sorted(speeds)[len(speeds) // 2]:.0f} samples/s in the median" if speeds else ""
    lines += ["", f"{seen:,} samples, {where}{pace}; seed {run['seed']}; commit `{run['commit'][:12]}`.", ""]
    checks = [row for row in log if any(k.startswith("val_") for k in row)]
    if checks:
        last = {k: v for k, v in checks[-1].items() if k.startswith("val_")}
        lines += ["Last validation (never the test): " + ", ".join(f"{k.removeprefix('val_')} {v:.3g}" for k, v in last.items()) + ".", ""]
    lines += ["<details><summary>Configuration</summary>", "", "```json", *_json(run["config"]), "```", "", "</details>", ""]
    return "\n".join(lines)


def _json(value: Any) -> list[str]:
    return json.dumps(value, indent=1, ensure_ascii=False).splitlines()


def _data(results: Sequence[Result]) -> str:
    asked = sorted({p for r in results for p in r.data.get("packs", {})})
    trained = [p for p in PACKS.values() if p.role == "train"]
    lines = ["## Data", "", "Training packs (their training split; held-out concepts and look-alikes of test pictures are left out):", ""]
    lines += [f"- {p.name}: {p.licence}; {p.attribution}" for p in trained]
    lines += ["", f"Evaluated on: {', '.join(asked)}.", ""]
    return "\n".join(lines)
