"""`load`: a model by name. `random_model`: any architecture without its weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pairwright.models.dual import DualEncoder
from pairwright.models.load import build, foreign, hf, rename, words
from pairwright.models.load.checkpoint import WEIGHT_FILES, find_weights, read_json, read_state
from pairwright.models.load.likely import likely
from pairwright.models.load.source import Source, download, parse

CONFIG = "open_clip_config.json"


def load(
    name: str | Path | tuple[str, str | None], *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> DualEncoder:
    """Load a CLIP-like model by name, ready to embed (evaluation mode).

    name: ``sprout`` (shipped with the package), ``ViT-B-32/laion2b_s34b_b79k`` or ``("ViT-B-32", "laion2b_s34b_b79k")`` (an open_clip
    architecture and tag), ``("ViT-B-32", "weights.safetensors")`` (an architecture and a checkpoint), ``("ViT-B-32", None)`` (random
    weights), ``hf-hub:org/repo``, ``local-dir:PATH``, or the path of a folder (open_clip's hub layout, or a transformers CLIP or SigLIP
    model) or of a checkpoint. device, dtype: where and in which float type the weights shall live (float32 on the CPU by default).

    Raises ValueError for unknown names and unfit checkpoints, FileNotFoundError for what is not there and cannot be downloaded.
    """
    source = parse(name)
    model = {"folder": _folder, "file": _file, "hub": _hub, "arch": _arch}[source.kind](source)
    model.config.setdefault("name", source.name)
    if device is not None or dtype is not None:
        model = model.to(device=device, dtype=dtype)
    return model.eval()


def _folder(source: Source) -> DualEncoder:
    folder = Path(source.at)
    if (folder / CONFIG).is_file():
        return _hub_layout(folder, source.name)
    if (folder / "config.json").is_file():
        return _transformers(folder, source.name)
    raise FileNotFoundError(f"{folder} holds neither {CONFIG} (open_clip) nor config.json (transformers): it is not a model folder")


def _hub_layout(folder: Path, name: str, weights: Path | None = None) -> DualEncoder:
    config = read_json(folder / CONFIG)
    state = read_state(weights or find_weights(folder))
    preprocess = config.get("preprocess_cfg") or {}
    own = config.get("pairwright")
    if own:  # towers that open_clip has no words for
        parts = tuple({k.removeprefix(p): v for k, v in state.items() if k.startswith(p)} for p in ("towers.image.", "towers.text."))
        rest = {k: v for k, v in state.items() if not k.startswith("towers.")}
        model = build.from_specs(
            (own["image"], own["text"]), preprocess, (*parts, rest), logit_bias=0.0 if "logit_bias" in rest else None, name=name
        )
    elif "model_cfg" in config:
        model = build.from_open_clip(config["model_cfg"], preprocess, state, name=name)
    else:
        raise ValueError(f"{folder / CONFIG} has no model_cfg: it is not an open_clip model")
    model.tokenizer = words.for_folder(folder, config.get("model_cfg"), _context(model, config.get("model_cfg")))
    return model


def _context(model: DualEncoder, model_cfg: Mapping[str, Any] | None) -> int:
    return getattr(model.towers["text"], "context", None) or (model_cfg or {}).get("text_cfg", {}).get("context_length", 77)


def _transformers(folder: Path, name: str) -> DualEncoder:
    config = read_json(folder / "config.json")
    specs = hf.specs(config)
    if specs is None:
        return foreign.from_transformers(folder, config, name)
    parts = rename.split_transformers(read_state(find_weights(folder)))
    bias = 0.0 if "logit_bias" in parts[2] else None
    model = build.from_specs(specs, hf.preprocess_config(folder, specs[0]), parts, logit_bias=bias, name=name)
    model.tokenizer = words.for_folder(folder, None, specs[1]["context"])
    return model


def _file(source: Source) -> DualEncoder:
    path = Path(source.at)
    if (path.parent / CONFIG).is_file():
        return _hub_layout(path.parent, source.name, path)
    state = read_state(path)
    names = likely(state)
    if not names:
        raise ValueError(
            f"{path}: no {CONFIG} beside it, and its tensors fit no plain architecture: load it as (architecture, path); "
            "`pairwright models` lists the architectures"
        )
    if len(names) > 1:
        warnings.warn(f"{path.name} fits {', '.join(names)} alike; {names[0]} was taken. Say which with load((name, path)).", stacklevel=3)
    return _named(names[0], state, {}, source.name)


def _arch(source: Source) -> DualEncoder:
    import open_clip
    from open_clip.pretrained import download_pretrained

    if source.tag is None:
        return _named(source.arch, None, {}, source.arch)
    found = open_clip.get_pretrained_cfg(source.arch, source.tag)
    if not found:
        return _named(source.arch, read_state(Path(source.tag).expanduser()), {}, source.arch)
    path = download(f"the checkpoint {source.name}", lambda: download_pretrained(found))
    wants = bool(open_clip.get_model_config(source.arch).get("quick_gelu", False))
    if wants != bool(found.get("quick_gelu", False)):
        other = f"{source.arch}-quickgelu" if not wants else source.arch.removesuffix("-quickgelu")
        warnings.warn(
            f"{source.tag} was trained with {'GELU' if wants else 'QuickGELU'}, which {source.arch} is not: load {other}/{source.tag}",
            stacklevel=3,
        )
    return _named(source.arch, read_state(path), found, source.name)


def _named(arch: str, state: dict[str, torch.Tensor] | None, preprocess: Mapping[str, Any], name: str) -> DualEncoder:
    import open_clip

    cfg = open_clip.get_model_config(arch)
    size = {"size": cfg["vision_cfg"].get("image_size", 224)}
    model = build.from_open_clip(cfg, {**preprocess, **size}, state, name=name)
    model.tokenizer = words.for_architecture(cfg, _context(model, cfg))
    return model


def _hub(source: Source) -> DualEncoder:
    from huggingface_hub import snapshot_download

    wanted = [CONFIG, "config.json", "preprocessor_config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.model"]
    folder = Path(download(f"the model {source.name}", lambda: snapshot_download(source.at, allow_patterns=wanted)))
    for pattern in (*WEIGHT_FILES, "*.safetensors", "*.bin"):  # one checkpoint, not each format that a repository holds
        download(f"the checkpoint of {source.name}", lambda p=pattern: snapshot_download(source.at, allow_patterns=[p]))
        if any(folder.glob(pattern)):
            break
    return _folder(Source("folder", source.name, str(folder)))
