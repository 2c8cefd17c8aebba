"""The cost of a tower against a list of its matrix products, one token and one block at a time."""

from __future__ import annotations

import pytest

from pairwright.compress.cost import cost
from pairwright.compress.tokens.tome import ToMe
from pairwright.models.tiny import tiny
from pairwright.models.towers.vit import VisionTransformer

E, HIDDEN, D, PATCHES, LAYERS = 32, 128, 16, 16, 3


def tower(**more) -> VisionTransformer:
    return VisionTransformer(**{"size": 32, "patch": 8, "width": E, "layers": LAYERS, "heads": 2, "dim": D, **more})


def by_hand(left: list[int], prefix: int = 1) -> int:
    """Operations of a tower whose blocks leave so many patches."""
    product = lambda rows, inputs, outputs: 2 * rows * inputs * outputs
    total, patches = product(PATCHES, 3 * 8 * 8, E), PATCHES
    for layer, after in enumerate(left):
        tokens = patches + prefix
        asking = 1 if prefix and layer == LAYERS - 1 else tokens  # of the last block only the class token is read
        total += 2 * product(tokens, E, E) + 2 * product(asking, E, E)
        for _ in range(asking):  # each token asks all, then sums their values up
            total += product(1, E, tokens) + product(1, tokens, E)
        patches = after
        through = 1 if asking == 1 else patches + prefix
        total += product(through, E, HIDDEN) + product(through, HIDDEN, E)
    return total + product(1, E, D)


def test_a_plain_tower():
    found = cost(tower())
    assert found.flops == by_hand([16, 16, 16])
    assert found.bytes == 4 * sum(p.numel() for p in tower().parameters())
    assert cost(tower().half()).bytes == found.bytes // 2


def test_merged_tokens_are_saved_behind_the_attention_of_their_block():
    assert cost(tower(), ToMe(4)).flops == by_hand([12, 8, 4])
    own = tower()
    own.reduce = ToMe(2)
    assert cost(own).flops == by_hand([14, 12, 10])
    assert cost(own, ToMe(0)).flops == by_hand([16, 16, 16])


def test_what_is_not_there_costs_nothing():
    project = 2 * E * D
    assert cost(tower(dim=None)).flops == by_hand([16, 16, 16]) - project
    assert cost(tower(pool="avg", class_token=False)).flops == by_hand([16, 16, 16], prefix=0)


def test_a_map_pool_is_one_query_over_the_patches():
    pool = 2 * E * E + 2 * 2 * PATCHES * E * E + 2 * 2 * PATCHES * E + 2 * E * E + 2 * 2 * E * HIDDEN
    assert cost(tower(pool="map", class_token=False)).flops == by_hand([16, 16, 16], prefix=0) + pool


def test_another_tower_is_refused():
    with pytest.raises(ValueError, match="ConvImage is not a plain vision transformer"):
        cost(tiny().towers["image"])
