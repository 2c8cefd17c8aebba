"""What a model's name means: the shipped model, a folder, a file, a hub repository, or an architecture with a tag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pairwright.models.load.catalog import SHIPPED, suggest


@dataclass(frozen=True)
class Source:
    """Where a model comes from. kind: ``folder``, ``file``, ``hub`` or ``arch``; name: as the user wrote it; at: path or repository;
    arch: architecture; tag: pretrained tag, a checkpoint's path, or None for random weights."""

    kind: str
    name: str
    at: str = ""
    arch: str = ""
    tag: str | None = None


def parse(name: Any) -> Source:
    """Read a model name. Names that mean nothing raise ValueError with close ones, missing paths FileNotFoundError."""
    if isinstance(name, tuple) and len(name) == 2:
        arch, tag = name
        return _arch(f"{arch}/{tag}" if tag else str(arch), str(arch), None if tag is None else str(tag))
    text = str(name).strip()
    if text in SHIPPED:
        folder = Path(str(resources.files("pairwright") / "assets" / text))
        if not folder.is_dir():
            raise FileNotFoundError(
                f"the model {text!r} is not part of this installation: train it with `pairwright train {text}`, or reinstall"
            )
        return Source("folder", text, str(folder))
    if text.startswith("local-dir:"):
        folder = Path(text.removeprefix("local-dir:")).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder: local-dir: needs one with open_clip_config.json and weights")
        return Source("folder", text, str(folder))
    if text.startswith("hf-hub:"):
        return Source("hub", text, text.removeprefix("hf-hub:"))
    path = Path(text).expanduser()
    if text and path.exists():
        return Source("folder" if path.is_dir() else "file", text, str(path))
    if isinstance(name, Path) or text.startswith((".", "/", "~")) or path.suffix in (".safetensors", ".pt", ".pth", ".bin", ".ckpt"):
        raise FileNotFoundError(f"{path} does not exist")
    arch, _, tag = text.partition("/")
    if not tag:
        return _untagged(text)
    return _arch(text, arch, tag)


def _arch(name: str, arch: str, tag: str | None) -> Source:
    import open_clip

    arch = arch.replace("/", "-")
    if arch not in open_clip.list_models():
        raise ValueError(
            f"unknown model {name!r}. Close names: {suggest(arch)}. Folders are written local-dir:PATH, hub models hf-hub:org/repo."
        )
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if tag is not None and tag not in tags and not Path(tag).expanduser().exists():
        raise ValueError(f"{arch} has no pretrained tag and there is no file {tag!r}; its tags: {', '.join(tags) or 'none'}")
    return Source("arch", name, arch=arch, tag=tag)


def _untagged(text: str) -> Source:
    import open_clip

    if text not in open_clip.list_models():
        raise ValueError(
            f"unknown model {text!r}. Close names: {suggest(text)}. Folders are written local-dir:PATH, hub models hf-hub:org/repo."
        )
    tags = open_clip.list_pretrained_tags_by_model(text)
    one = f"{text}/{tags[0]}" if tags else f'("{text}", "checkpoint.safetensors")'
    raise ValueError(
        f'{text} is an architecture: say which weights, e.g. {one}; tags: {", ".join(tags) or "none"}; ("{text}", None) for random ones'
    )


def download(what: str, get: Callable[[], Any]) -> Any:
    """Run a download; without a network there is one clear message with the way out."""
    try:
        return get()
    except Exception as e:  # every client library has errors of its own
        first = (str(e).strip() or type(e).__name__).splitlines()[0][:200]
        raise FileNotFoundError(
            f"{what} is not on this machine and could not be downloaded ({type(e).__name__}: {first}). Download it where there is a "
            "network and load the folder with local-dir:PATH, or use the shipped model sprout."
        ) from None
