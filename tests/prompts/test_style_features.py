"""Style statistics against numpy, block by block, and in the order of the blocks."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from pairwright.prompts.style_features import encoded, statistics, statistics_of, style_features
from tests.prompts.test_style_tokens import MODEL, PICTURES, TRAIN


def test_statistics_are_numpys_over_the_patches_of_every_block():
    x = PICTURES.x
    tower = MODEL.towers["image"]
    seen = MODEL.image(x, taps=("0", "1", "2"))
    for layer in range(3):
        patches = seen.taps[str(layer)].numpy()[:, 1:]  # the class token stands first
        assert patches.shape[1] == 4
        expected = np.concatenate([patches.mean(1), patches.std(1)], 1)
        np.testing.assert_allclose(TRAIN.side[f"style@{layer}"].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert tower.prefix == 1
    torch.testing.assert_close(TRAIN.z, MODEL.image(x).z_BD)
    assert TRAIN.y.tolist() == PICTURES.y_N.tolist()
    assert TRAIN.encoder == MODEL.fingerprint
    assert style_features(MODEL, PICTURES.rows([])).side["style@2"].shape == (0, 32)
    assert statistics(torch.zeros(2, 3, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_layers_are_sorted_by_number():
    rows = dataclasses.replace(TRAIN, side={f"style@{i}": torch.full((6, 2), float(i + 1)) for i in (10, 2, 0)})
    assert statistics_of(encoded(rows, MODEL))[0, :, 0].tolist() == [1, 3, 11]
