"""Prompt learners as candidates: the same tokens as by hand, a model that stays as it was, and a budget that they have to fit."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.features import Features
from pairwright.core.index import entries
from pairwright.core.numerics import generator, unit
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.models.tiny import tiny
from pairwright.prompts.fit import Descent
from pairwright.prompts.kgcoop import KgCoOp
from pairwright.recipes.adapt.prompted import TRIED, affordable, forced_prompt, prompted

MODEL = tiny(0, size=16, width=32, dim=16, layers=1)
NAMES = ("cat", "dog")
TRAIN = Features(unit(torch.randn(6, 16, generator=generator("prompted"))), [0, 1] * 3, encoder=MODEL.fingerprint)
TEXT = class_text(MODEL, NAMES)


def test_the_head_is_zero_shot_on_the_learned_text():
    before = MODEL.fingerprint
    (entry,) = entries(TRIED)
    head = prompted(entry, MODEL, steps=4).fit(TRAIN, TEXT)
    text = KgCoOp(how=Descent(most_steps=4)).fit(MODEL, NAMES, TRAIN).text(MODEL, NAMES)
    torch.testing.assert_close(head.logits(TRAIN), text.scale * TRAIN.z @ text.W_CD.T)
    assert MODEL.fingerprint == before


def test_it_is_tried_only_where_there_is_time():
    assert [c.id for c in affordable(MODEL, TEXT, 1e9)[0]] == [TRIED]
    none, why = affordable(MODEL, TEXT, 1e-3)
    assert none == []
    assert "--method KgCoOp" in why


def test_a_name_means_a_prompt_learner_only_where_it_comes_first():
    assert forced_prompt("CoOp", MODEL).id == "prompts/coop"
    assert forced_prompt("Tip-Adapter", MODEL) is None
    assert forced_prompt("siglip", MODEL) is None
    for name in ("CoCoOp", "MaPLe"):
        with pytest.raises(ValueError, match="try CoOp"):
            forced_prompt(name, MODEL)
