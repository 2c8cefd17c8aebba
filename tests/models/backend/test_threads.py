"""Parts of a batch side by side: the same rows in the same order, errors as they are, and torch's number of threads left alone."""

from __future__ import annotations

import threading

import pytest
import torch

from pairwright.models.backend.threads import side_by_side

X = torch.arange(23.0).view(23, 1, 1, 1).expand(23, 3, 2, 2)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 5, 16, 100])
def test_rows_come_back_in_order_from_several_threads_of_one_processor_thread_each(rows: int) -> None:
    seen: list[tuple[str, int, int, bool]] = []

    def run(x: torch.Tensor) -> torch.Tensor:
        seen.append((threading.current_thread().name, torch.get_num_threads(), len(x), torch.is_grad_enabled()))
        return x.flatten(1)[:, :1]

    torch.testing.assert_close(side_by_side(run, rows)(X), X.flatten(1)[:, :1])
    assert all(name.startswith("pairwright-part") and threads == 1 and n <= min(rows, 12) and not grad for name, threads, n, grad in seen)
    assert torch.get_num_threads() == 2


def test_threads_that_start_later_have_all_processor_threads() -> None:
    side_by_side(lambda x: x, 4)(X)
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


@pytest.mark.parametrize("inference", [True, False])
def test_inference_mode_reaches_the_parts(inference: bool) -> None:
    with torch.inference_mode(inference):
        assert side_by_side(lambda x: x + 1, 4)(X).is_inference() == inference


def test_one_picture_and_one_thread_run_where_they_are() -> None:
    names: list[str] = []

    def run(x: torch.Tensor) -> torch.Tensor:
        names.append(threading.current_thread().name)
        return x

    side_by_side(run, 4)(X[:1])
    torch.set_num_threads(1)
    assert len(side_by_side(run, 4)(X)) == 23
    assert not any(name.startswith("pairwright-part") for name in names)


def test_an_error_in_a_part_is_raised_as_it_is() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such picture")

    with pytest.raises(ValueError, match="no such picture"):
        side_by_side(run, 4)(X)
