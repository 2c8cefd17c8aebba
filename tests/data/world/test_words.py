"""Captions, hard captions and languages: words say what is there, and read back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pairwright.data.world import vocabulary as V
from pairwright.data.world.caption import HARD
from pairwright.data.world.engine import World
from pairwright.data.world.grammar import ALL_WORDS, holds
from pairwright.data.world.language import Language

RICH = {
    "objects": (1, 3),
    "shapes": 24,
    "colours": 24,
    "textures": 6,
    "sizes": 3,
    "counts": 4,
    "captions": 3,
    "templates": 5,
    "background": 1,
    "style": 1,
    "long_text": 0.4,
    "grain": 0.2,
    "mention": {
        "background": 0.5,
        "style": 0.5,
        "position": 0.3,
        "colour": 0.7,
        "shape": 0.8,
        "texture": 0.6,
        "relation": 0.7,
        "object": 0.8,
    },
}


def true_by_hand(caption: str, batch, i: int) -> bool:
    """Whether a plain `colour shape relation colour shape` caption is true, read off the words and the masks' centres alone."""
    words = caption.replace("a ", "").replace(" of", "").split()
    f, colours = batch.facts, list(V.COLOURS)
    where = {}
    for o in range(2):
        y, x = np.argwhere(batch.masks[i, o].numpy()).mean(0)
        where[colours[f.colour_NO[i, o]], V.SHAPES[f.shape_NO[i, o]]] = (x, y)
    a, b = (words[0], words[1]), (words[3], words[4])
    if len(words) != 5 or a not in where or b not in where:
        return False
    (xa, ya), (xb, yb) = where[a], where[b]
    return {"left": xa < xb, "right": xa > xb, "above": ya < yb, "below": ya > yb}[words[2]] and (words[2] in ("left", "right")) == (
        abs(xa - xb) > abs(ya - yb)
    )


def test_captions_parse_back_to_their_statements():
    world = World(0, **RICH)
    batch = world.sample(150)
    for k in range(3):
        for said, row in zip(batch.statements(k), batch.captions):
            assert world.lexicon.parse(row[k]) == said


def test_captions_are_true_and_hard_ones_false_by_hand():
    batch = World(1, size=64, shapes=8, colours=8).sample(150)
    for kind in ("swap", "relation", "replace", "add"):
        for i, (good, bad) in enumerate(zip(batch.caption, batch.hard(kind))):
            assert true_by_hand(good, batch, i)
            assert not true_by_hand(bad, batch, i)
            assert good != bad


def test_holds_agrees_with_the_reading_by_hand():
    batch = World(2, size=64, shapes=3, colours=3).sample(30)
    lexicon = batch.world.lexicon
    for a, b in itertools.product(range(30), range(30)):  # every caption against every scene
        assert holds(lexicon.parse(batch.caption[a]), batch.facts, b) == true_by_hand(batch.caption[a], batch, b)


def test_every_caption_of_a_rich_world_holds_and_hard_ones_do_not():
    batch = World(3, **{**RICH, "objects": (2, 3), "grain": 0, "mention": {"background": 1, "style": 1, "position": 1}}).sample(80)
    parse = batch.world.lexicon.parse
    for i, row in enumerate(batch.captions):
        assert all(holds(parse(c), batch.facts, i) for c in row)
    for kind in HARD:
        assert not any(holds(parse(c), batch.facts, i) for i, c in enumerate(batch.hard(kind)))


def test_swap_keeps_the_bag_of_words():
    batch = World(4, shapes=20, colours=20).sample(100)
    for good, bad in zip(batch.caption, batch.hard("swap")):
        assert sorted(good.split()) == sorted(bad.split())
        assert good != bad


def test_hard_captions_that_cannot_be_made_say_so():
    with pytest.raises(ValueError, match="objects=2"):
        World(0, objects=1).sample(3).hard("swap")
    with pytest.raises(ValueError, match="more colours"):
        World(0, objects=2, colours=2).sample(3).hard("add")
    with pytest.raises(ValueError, match="come as"):
        World(0).sample(3).hard("upside down")


def test_mention_rates_are_kept():
    batch = World(5, textures=6, objects=2, mention={"texture": 0.3, "colour": 0.8, "relation": 0.5}).sample(2000)
    said = [p for s in batch.statements() for p in s.phrases]
    assert np.mean([p.texture >= 0 for p in said]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([p.colour >= 0 for p in said]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([s.relation >= 0 for s in batch.statements()]) == pytest.approx(0.5, abs=0.04)
    assert all(p.shape >= 0 and p.size < 0 and p.count < 0 for p in said)  # one word only: never said


def test_several_captions_of_a_scene_differ_but_mean_the_same():
    batch = World(6, captions=4, templates=5).sample(50)
    for i, row in enumerate(batch.captions):
        assert all(holds(batch.world.lexicon.parse(c), batch.facts, i) for c in row)
    assert np.mean([len(set(row)) for row in batch.captions]) > 2


def test_short_and_long_say_the_same():
    short, long = World(7).sample(40), World(7, long_text=1.0).sample(40)
    for a, b in zip(short.caption, long.caption):
        assert a != b
        assert short.world.lexicon.parse(a) == long.world.lexicon.parse(b)


def test_class_captions_name_each_value():
    assert World(0, shapes=3).class_captions() == ["a circle", "a square", "a triangle"]
    assert World(0, colours=2, counts=2).class_captions("colour") == ["some red thing", "some blue thing"]
    assert World(0, counts=2).class_captions("count") == ["one thing", "two things"]


def test_words_outside_the_grammar_are_refused():
    with pytest.raises(ValueError, match="wombat"):
        World(0).lexicon.parse("a red wombat")


@pytest.mark.parametrize("order", [0, 0.5, 1])
@pytest.mark.parametrize(("shift", "cognates"), [(1.0, 0.0), (0.5, 1.0), (0.0, 0.0)])
def test_languages_are_bijective(order, shift, cognates):
    language = Language(3, shift, cognates, order)
    table = language.dictionary
    assert set(table) == set(ALL_WORDS)
    assert len(set(table.values())) == len(table)
    changed = [w for w in table if table[w] != w]
    assert len(changed) == round(shift * (len(table) - 1))
    for row in World(8, **{**RICH, "size": 16}).sample(60).captions:
        for c in row:
            assert language.back(language.translate(c)) == c
            assert len(language.translate(c).split()) == len(c.split())


def test_cognates_look_like_english_and_invented_words_do_not():
    def common(language):  # mean share of the longest common prefix
        pairs = [(a, b) for a, b in language.dictionary.items() if a != b]
        return np.mean([len([1 for x, y in zip(a, b) if x == y]) / len(a) for a, b in pairs])

    assert common(Language(1, cognates=1.0)) > 0.8
    assert common(Language(1, cognates=0.0)) < 0.3
    assert Language(1).dictionary != Language(2).dictionary


def test_word_order_moves_words():
    said = "a red circle left of a blue square on brick"
    assert Language(1, shift=0, order=0.5).translate(said) == "square blue a of left circle red a on brick"
    assert Language(1, shift=0, order=1).translate(said) == "brick on square blue a of left circle red a"
    with pytest.raises(ValueError, match="order"):
        Language(order=0.3)
    with pytest.raises(ValueError, match="wombat"):
        Language().translate("a wombat")
