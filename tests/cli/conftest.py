"""A saved tiny model, a few pictures, and a way to run the command line in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from pairwright.cli.main import main
from pairwright.models.load import save
from pairwright.models.tiny import tiny


@pytest.fixture(scope="session")
def model_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"local-dir:{save(tiny(0), tmp_path_factory.mktemp('model') / 'tiny')}"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for name, colour in {"red.png": "red", "blue.png": "blue", "sub/绿色.png": "green"}.items():
        image = Image.new("RGB", (36, 36), "white")
        ImageDraw.Draw(image).ellipse((4, 4, 30, 30), fill=colour)
        image.save(folder / name)
    return folder


class Ran:
    """What one command line gave."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def call(*argv: object) -> Ran:
        capfd.readouterr()
        code = main([str(a) for a in argv])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return call
