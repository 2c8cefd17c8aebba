"""Convolutional, timm and wrapped towers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pairwright.models.towers.conv import ConvImage
from pairwright.models.towers.timm_image import TimmImage
from pairwright.models.towers.wrapped import Wrapped, pooled


@pytest.mark.parametrize("proj", ["linear", "mlp", "none", ""])
@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_timm_tower_has_the_names_and_numbers_of_open_clips_adapter(name: str, proj: str) -> None:
    from open_clip.timm_model import TimmModel

    size = 160 if name == "test_vit" else 96
    pool = "avg" if name == "test_convnext" else "token"
    torch.manual_seed(0)
    theirs = TimmModel(name, 24, image_size=size, pool=pool, proj=proj).eval()
    ours = TimmImage(name, 24, size=size, pool=pool, proj=proj).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        want = theirs(x)
        e = ours(x)
    torch.testing.assert_close(e.z_BD * e.norm_B[:, None], want, atol=1e-5, rtol=1e-5)
    assert ours.width == want.shape[1]


def test_timm_places_of_the_last_map_are_tokens_in_the_joint_space() -> None:
    torch.manual_seed(0)
    tower = TimmImage("test_convnext", 24, size=64).eval()
    x = torch.randn(2, 3, 64, 64)
    e = tower(x, tokens=True, taps=("1",))
    assert e.grid == (2, 2)
    torch.testing.assert_close(e.taps["1"], tower.trunk.forward_intermediates(x, indices=[1], intermediates_only=True)[0])
    one = tower(torch.zeros(1, 3, 32, 32), tokens=True)  # a map of one place: the token is the embedding
    torch.testing.assert_close(F.normalize(one.tokens_BMD[:, 0], dim=-1), one.z_BD, atol=1e-6, rtol=0)


def test_timm_tower_says_what_it_lacks_and_names_close_models() -> None:
    with pytest.raises(ValueError, match=r"test_convnext lacks deep.*taps, tokens"):
        TimmImage("test_convnext", 8, size=32)(torch.zeros(1, 3, 32, 32), deep=[torch.zeros(1, 2)])
    with pytest.raises(ValueError, match="convnext_atto"):
        TimmImage("convnext_attto", 8)
    with pytest.raises(ValueError, match="unknown projection"):
        TimmImage("test_convnext", 8, proj="conv")


def test_conv_tower_rows_do_not_depend_on_their_batch() -> None:
    torch.manual_seed(0)
    tower = ConvImage(dim=12, channels=(8, 16), size=16).train()
    x = torch.randn(3, 3, 16, 16)
    e = tower(x, tokens=True, taps=("0",))
    torch.testing.assert_close(e.z_BD[1:2], tower(x[1:2]).z_BD, atol=1e-6, rtol=0)
    assert e.grid == (4, 4)
    assert e.taps["0"].shape == (3, 8, 8, 8)
    assert torch.equal(tower(x, deep=None, mix=None).z_BD, e.z_BD)
    with pytest.raises(ValueError, match="lacks deep"):
        tower(x, deep=[x])
    with pytest.raises(ValueError, match="unknown taps"):
        tower(x, taps=("5",))


def test_wrapped_tower_gives_the_modules_output_and_refuses_what_it_lacks() -> None:
    tower = Wrapped(nn.Linear(3, 4), 4, name="the image tower of X")
    x = torch.randn(2, 3)
    torch.testing.assert_close(tower(x, deep=None, tokens=False).z_BD, F.normalize(tower.module(x), dim=-1))
    with pytest.raises(ValueError, match=r"image tower of X.*lacks deep, tokens"):
        tower(x, deep=[1], tokens=True)
    with pytest.raises(ValueError, match="token embeddings"):
        tower.embed_tokens(x)


def test_one_adapter_reads_every_kind_of_output() -> None:
    t = torch.ones(1, 2)
    for output in (t, (t, None), SimpleNamespace(pooler_output=t), SimpleNamespace(pooler_output=None, text_embeds=t)):
        assert pooled(output) is t
    with pytest.raises(TypeError, match="no embedding"):
        pooled(SimpleNamespace(last_hidden_state=t))
