"""Measure a trained sprout on the held-out suites and write its model card: the last step of the recipe.

``python -m pairwright.recipes._sprout_card runs/sprout`` does it again for the run in that folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pairwright.core import io
from pairwright.evaluate.model_card import model_card
from pairwright.evaluate.protocol import evaluate
from pairwright.evaluate.result import Result
from pairwright.models.load import load
from pairwright.suites import table

AIMS = {
    "unseen-vendor-all": ("acc1", 0.55),
    "unseen-concept": ("acc5", 0.45),
    "openclipart-retrieval": ("text_retrieval_recall@5", 0.45),
    "emoji-subgroup": ("acc1", 0.30),
    "icons-lucide": ("acc10", 0.40),
    "icons-flat-color": ("acc10", 0.40),
}
MORE = (
    "unseen-vendor",
    "unseen-concept-and-vendor",
    "stamps-retrieval",
    "emoji-group",
    "openclipart-folder",
    "emoji-multilingual",
    "fashion-mnist",
)

ABOUT = (
    "A small two-encoder model for icons, emoji and clip art in plain words, which ships inside pairwright and needs no network. Pictures "
    "are seen at 64 pixels."
)
NOTES = (
    "It has seen drawings only: for photographs use a bigger model.",
    "The folder has open_clip's layout, but open_clip 3.3 sizes the projection of this image tower differently and cannot read it.",
    "Three of its aims are not reached. Tried: pictures of 48 pixels for the first two fifths of the steps, a sentence encoder as teacher "
    "of the text tower, averaged weights. On the unseen style of the validation it was best 800 steps before the end: longer training "
    "of this size is not the cure.",
    "It reads English; other languages are measured (emoji-multilingual) but were not trained.",
    "Test concepts are held out as pictures. Their names may occur as words: the text tower learnt from a dictionary, and icon sets share "
    "common names such as `home`, of which only those of held-out emoji concepts were kept out of training.",
    "Chosen by design and on validation data (an emoji vendor and concepts that are neither trained on nor tested).",
)


def write_card(model_folder: Path, run_folder: Path, suites: Sequence[str] = (*AIMS, *MORE)) -> Path:
    """Evaluate the saved model on `suites`, keep each result in ``run_folder/results``, and write ``README.md`` and ``results.json``."""
    model = load(str(model_folder))
    results: list[Result] = []
    for name in suites:
        folder = run_folder / "results" / name
        known = Result.load(folder) if (folder / "result.json").exists() else None
        if known is None or known.fingerprint != model.fingerprint:
            known = evaluate(model, table.get(name), name="sprout", out=folder)
        results.append(known)
    log = [json.loads(line) for line in (run_folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    run = io.read_json(run_folder / "run.json")
    card = model_card("sprout", ABOUT, run=run, results=results, log=log, bars=AIMS, notes=NOTES)
    io.write_text(model_folder / "README.md", card)
    io.write_json(model_folder / "results.json", [r.to_json() for r in results])
    return model_folder / "README.md"


if __name__ == "__main__":
    print(write_card(Path(sys.argv[1]) / "model", Path(sys.argv[1])))
