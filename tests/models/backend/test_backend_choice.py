"""The choice at work on a tiny model with fake backends: measured once, kept on disk, checked again, refused when it turns wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pairwright.models.backend import auto, candidates, store
from pairwright.models.backend.candidates import Candidate
from pairwright.models.tiny import tiny

X = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
MANY = 10**6


@pytest.fixture
def model():
    return tiny(0, width=32, dim=24)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path))


class Fake:
    """Backends of a chosen error and cost, which note that they were built, under a clock of their own: only they take time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: object) -> None:
        self.built: list[str] = []
        self.noise = {"good": 0.0, "wrong": 1.0, "rough": 0.0}
        self.now = 0.0
        monkeypatch.setattr(auto, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(model, "image", lambda x: self.spend(2e-3 * len(x), type(model).image(model, x)))
        table = (candidates.TABLE[0], *(self.candidate(n, p) for n, p in (("good", "bf16"), ("wrong", "bf16"), ("rough", "int8"))))
        monkeypatch.setattr(candidates, "TABLE", table)

    def spend(self, seconds: float, result: Any) -> Any:
        self.now += seconds
        return result

    def candidate(self, name: str, precision: str) -> Candidate:
        def build(job: candidates.Job) -> Callable[[torch.Tensor], torch.Tensor]:
            self.built.append(name)

            def run(x: torch.Tensor) -> torch.Tensor:
                z = job.tower(x).z_BD
                off = torch.randn(z.shape, generator=torch.Generator().manual_seed(3)) * self.noise[name] / z.shape[1] ** 0.5
                cost = {"good": 4e-4, "rough": 8e-4}.get(name, 1e-6)
                return self.spend(cost * len(x), torch.nn.functional.normalize(z + off, dim=-1))

            return run

        return Candidate(name, precision, 0.01, build)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, model) -> Fake:
    return Fake(monkeypatch, model)


@torch.inference_mode()
def pick(model, precision: str = "auto", images: int = MANY, batch: int = 16) -> str:
    return auto.backend(model, X, precision=precision, batch=batch, images=images).name


def test_fast_but_wrong_is_refused(model, fake: Fake) -> None:
    assert pick(model) == "good"
    assert set(fake.built) == {"good", "wrong", "rough"}
    assert pick(model, "int8") == "rough"


def test_a_second_process_measures_nothing_and_checks_what_it_opens(model, fake: Fake) -> None:
    pick(model)
    fake.built.clear()
    assert pick(model) == "good"
    assert fake.built == []  # still open
    auto._OPEN.clear()
    assert pick(model) == "good"
    assert fake.built == ["good"]  # opened again, not measured
    auto._OPEN.clear()
    fake.noise["good"] = 1.0  # what was close then is not on these pictures
    assert pick(model) in {"rough", "torch-fp32"}
    (kept,) = [t for t in store.read(store.key(model, 16)) if t.name == "good"]
    assert kept.cosine_min < 0.999


def test_other_weights_batches_and_libraries_are_measured_anew(model, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    pick(model)
    for change in (
        lambda: model.logit_scale.data.copy_(model.logit_scale.data),
        lambda: model.towers["image"].proj.weight.data.mul_(1.5),
        lambda: monkeypatch.setattr(store, "libraries", lambda: {"torch": "0"}),
    ):
        fake.built.clear()
        before = model.fingerprint
        change()
        pick(model)
        assert bool(fake.built) == (model.fingerprint != before or store.libraries() == {"torch": "0"})
    fake.built.clear()
    pick(model, batch=8)
    assert fake.built


def test_a_damaged_cache_counts_as_none(model, fake: Fake) -> None:
    pick(model)
    path = store.path_of(store.key(model, 16))
    path.write_text(path.read_text()[:-40])
    assert store.read(store.key(model, 16)) == []
    assert pick(model) == "good"


def test_few_images_are_not_worth_a_choice(model, fake: Fake) -> None:
    assert pick(model, images=16) == "torch-fp32"
    assert pick(model, images=40) == "torch-fp32"  # 80 ms in all
    assert fake.built == []


def test_a_backend_that_breaks_is_noted_and_passed_over(model, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: candidates.Job) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(candidates, "TABLE", (*candidates.TABLE, Candidate("broken", "bf16", 0.0, broken)))
    assert pick(model) == "good"
    (kept,) = [t for t in store.read(store.key(model, 16)) if t.name == "broken"]
    assert kept.error == "RuntimeError: no such instruction"


def test_rows_that_are_not_finite_or_not_unit_count_as_wrong() -> None:
    z = torch.nn.functional.normalize(torch.randn(3, 8), dim=-1)
    assert auto.closeness(z, z)[0] == pytest.approx(1.0)
    assert auto.closeness(z * 2, z)[0] == 0.0
    bad = z.clone()
    bad[1] = float("nan")
    low, mean = auto.closeness(bad, z)
    assert low == 0.0
    assert mean == pytest.approx(2 / 3)


def test_a_model_that_is_gone_takes_its_backends_with_it(fake: Fake, model, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    other = tiny(1, width=32, dim=24)
    pick(other, "bf16")
    assert other in auto._OPEN
    before = len(auto._OPEN)
    del other
    gc.collect()
    assert len(auto._OPEN) == before - 1


def test_without_a_cache_folder_it_measures_each_time(model, fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "file" / "cache"))
    assert pick(model) == "good"
    assert store.read(store.key(model, 16)) == []


def test_graphs_that_the_choice_does_not_open_are_dropped(model, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.exports(model.fingerprint)
    folder.mkdir(parents=True)
    (folder / "int8_dynamic.onnx").write_bytes(b"x")
    assert pick(model) == "good"
    assert list(folder.iterdir()) == []
