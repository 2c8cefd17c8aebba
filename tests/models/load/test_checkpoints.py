"""Checkpoints from outside: what is read, what is refused, and that nothing in them ever runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pairwright.models.load import load, read_state, save
from pairwright.models.load.build import from_open_clip
from pairwright.models.load.likely import likely
from pairwright.models.load.source import download, parse
from pairwright.models.tiny import tiny

CFG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2},
}


SMALL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 64, "layers": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a small architecture that open_clip knows for the length of a test."""
    import open_clip

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-small-16", SMALL)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-small-16", {"mine": {"url": "", "quick_gelu": True, "mean": (0.5,) * 3}})
    return "ViT-small-16"


def flat(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A model's tensors under open_clip's names."""
    out = {f"visual.{k}": v for k, v in model.towers["image"].state_dict().items()}
    return {**out, **model.towers["text"].state_dict(), "logit_scale": torch.tensor(1.0)}


def state() -> dict[str, torch.Tensor]:
    return flat(from_open_clip(CFG, {}, None))


class Canary:
    """Unpickling an instance makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["evil.pt", "evil.bin", "evil.safetensors", "open_clip_model.safetensors"])
@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_pickle_with_code_is_refused_and_never_runs(name: str, writer: str, tmp_path: Path) -> None:
    path, hit = tmp_path / name, tmp_path / "executed"
    payload = {"state_dict": {"w": torch.zeros(2)}, "note": Canary(hit)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, path)
    for what in (path, ("ViT-B-32", str(path))):
        with pytest.raises(ValueError, match="pickle"):
            load(what)
    assert not hit.exists()


def test_a_folder_with_a_pickle_is_refused_too(tmp_path: Path) -> None:
    save(tiny(), tmp_path)
    (tmp_path / "open_clip_model.safetensors").unlink()
    torch.save({"note": Canary(tmp_path / "executed")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="never runs code"):
        load(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}]
)
def test_torch_files_of_tensors_are_read_with_their_wrappers_off(wrap, tmp_path: Path) -> None:
    want = state()
    torch.save(wrap(want), tmp_path / "a.pt")
    got = read_state(tmp_path / "a.pt")
    assert got.keys() == want.keys()
    assert all(torch.equal(got[k], want[k]) for k in want)


def test_truncated_empty_and_absent_files(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("cut.safetensors", "empty.pt", "text.pth", "none.pt", "list.pt"):
        with pytest.raises(ValueError, match=name):
            read_state(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load(tmp_path / "absent.safetensors")


def test_a_wrong_shape_names_the_tensor_both_shapes_and_the_right_architecture(tmp_path: Path) -> None:
    import open_clip

    c = open_clip.get_model_config("ViT-S-32")
    with torch.device("meta"):
        other = from_open_clip(c, {}, None)
    wrong = {k: torch.empty(v.shape, dtype=torch.float16) for k, v in flat(other).items()}
    assert likely(wrong)[0] == "ViT-S-32"
    wrong["logit_scale"] = torch.tensor(1.0)
    save_file(wrong, tmp_path / "s32.safetensors")
    with pytest.raises(ValueError, match=r"image:class_embedding.*\(384,\).*\(768,\).*is ViT-S-32"):
        load(("ViT-B-32", str(tmp_path / "s32.safetensors")))


def test_missing_and_unknown_tensors_are_listed() -> None:
    wrong = state()
    wrong["visual.extra"] = wrong.pop("visual.ln_post.weight")
    with pytest.raises(ValueError, match=r"1 tensors are missing \(first: image:ln_post.weight\); 1 are unknown \(first: image:extra\)"):
        from_open_clip(CFG, {}, wrong)
    wrong.pop("logit_scale")
    with pytest.raises(ValueError, match="no logit_scale"):
        from_open_clip(CFG, {}, wrong)


def test_a_file_without_config_is_recognised_by_its_shapes(small: str, tmp_path: Path) -> None:
    model = from_open_clip(SMALL, {}, None)
    save_file(flat(model), tmp_path / "mine.safetensors")
    again = load(tmp_path / "mine.safetensors")
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again.image(x).z_BD, model.image(x).z_BD)
    save_file({"w": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="fit no plain architecture"):
        load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("VIT-B-23/openai", "ViT-B-32"),
        ("sprouts", "sprout"),
        ("ViT-B-32", r"ViT-B-32/openai"),
        ("ViT-B-32/laion9b", "laion2b_s34b_b79k"),
        (("RN51", None), "RN50"),
        ("", "unknown model"),
    ],
)
def test_unknown_names_suggest_close_ones(name, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        load(name)


@pytest.mark.parametrize("name", ["local-dir:/nowhere", "./nowhere", "/nowhere/x.pt", "x.safetensors"])
def test_absent_paths(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        load(name)


def test_names_mean_what_they_say(tmp_path: Path) -> None:
    assert parse("ViT-B-32/laion2b_s34b_b79k").tag == "laion2b_s34b_b79k"
    assert parse(("ViT-B/32", "openai")).arch == "ViT-B-32"
    assert parse("hf-hub:timm/ViT-B-16-SigLIP").at == "timm/ViT-B-16-SigLIP"
    assert parse(str(tmp_path)).kind == "folder"
    assert parse(("ViT-B-32", None)).tag is None


def test_without_a_network_there_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    import huggingface_hub.constants

    def no_route(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("hf-hub:pairwright-test/none", "ViT-B-32/laion2b_s34b_b79k"):
        if name.startswith("ViT"):
            monkeypatch.setattr(
                "open_clip.pretrained.download_pretrained", lambda *a, **k: (_ for _ in ()).throw(OSError("no route to host"))
            )
        with pytest.raises(FileNotFoundError, match=r"could not be downloaded.*local-dir:PATH"):
            load(name)
    assert download("x", lambda: 3) == 3


def test_quick_gelu_mismatch_warns_with_the_right_name(small: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_file(flat(from_open_clip(SMALL, {}, None)), tmp_path / "w.safetensors")
    monkeypatch.setattr("open_clip.pretrained.download_pretrained", lambda *a, **k: str(tmp_path / "w.safetensors"))
    with pytest.warns(UserWarning, match="trained with QuickGELU.*ViT-small-16-quickgelu/mine"):
        loaded = load("ViT-small-16/mine")
    assert loaded.preprocess.mean == (0.5,) * 3
    assert loaded.preprocess.size == 64


def test_random_weights_and_a_float_type(small: str) -> None:
    model = load((small, None), dtype=torch.bfloat16)
    assert next(model.towers["image"].parameters()).dtype == torch.bfloat16
    assert model.tokenizer(["a cat"]).shape == (1, 77)
    assert model.image(torch.randn(1, 3, 64, 64)).z_BD.dtype == torch.float32


def test_half_the_bytes_and_still_the_same_model(tmp_path):
    model = tiny(0, image="vit", size=32)
    whole = save(model, tmp_path / "whole")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    half = save(model, tmp_path / "half", torch.float16)
    size = lambda folder: (folder / "open_clip_model.safetensors").stat().st_size
    assert size(half) < 0.6 * size(whole)
    back = load(str(half))
    assert back.fingerprint == model.fingerprint
    assert all(v.dtype == before[k].dtype for k, v in back.state_dict().items())
    for k, v in before.items():
        torch.testing.assert_close(back.state_dict()[k], v.half().to(v.dtype) if v.is_floating_point() else v, rtol=0, atol=0)
    model.towers["text"].token_embedding.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match="dtype=None"):
        save(model, tmp_path / "no", torch.float16)
