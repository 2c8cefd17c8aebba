"""The choice among measured backends: fast but wrong is refused, opening counts, fp32 wins ties."""

from __future__ import annotations

import pytest

from pairwright.models.backend.rule import Trial, accepted, choose, worth_trying

EXACT = Trial("torch-fp32", "fp32", 0.050, 0.0, 1.0, 1.0)
GOOD = Trial("torch-bf16", "bf16", 0.020, 1.0, 0.9995, 0.9998)
FAST_BUT_WRONG = Trial("wild", "bf16", 0.001, 0.0, 0.998, 0.9999)
ROUGH = Trial("rough", "int8", 0.005, 0.0, 0.992, 0.996)
BROKEN = Trial("broken", "bf16", error="RuntimeError: no such instruction")


def test_the_fastest_that_is_close_enough_is_chosen() -> None:
    assert choose([EXACT, GOOD, FAST_BUT_WRONG, ROUGH, BROKEN]).name == "torch-bf16"


def test_one_bad_row_or_a_bad_mean_is_enough_to_refuse() -> None:
    assert not accepted(FAST_BUT_WRONG, "auto")
    assert not accepted(Trial("mean", "bf16", 0.001, 0.0, 0.9995, 0.9985), "auto")
    assert choose([EXACT, FAST_BUT_WRONG]).name == "torch-fp32"


def test_rough_int8_has_to_be_asked_for_and_has_a_floor_too() -> None:
    assert choose([EXACT, ROUGH], "auto").name == "torch-fp32"
    assert choose([EXACT, ROUGH], "int8").name == "rough"
    with pytest.raises(ValueError, match=r"int8 backend is close enough.*x: cosine 0\.9800.*precision='auto'"):
        choose([EXACT, Trial("x", "int8", 0.001, 0.0, 0.98, 0.99)], "int8")


def test_opening_counts_where_there_are_few_images() -> None:
    # 0.05 n against 1 + 0.02 n: they meet at 33 images
    assert choose([EXACT, GOOD], images=20).name == "torch-fp32"
    assert choose([EXACT, GOOD], images=50).name == "torch-bf16"


def test_fp32_stays_unless_another_is_clearly_faster() -> None:
    noise = Trial("torch-bf16", "bf16", 0.049, 0.0, 1.0, 1.0)
    assert choose([noise, EXACT]).name == "torch-fp32"


def test_what_was_refused_or_broken_is_passed_over() -> None:
    assert choose([EXACT, GOOD, BROKEN], refused={"torch-bf16"}).name == "torch-fp32"
    with pytest.raises(ValueError, match="broken: RuntimeError: no such instruction"):
        choose([BROKEN], "bf16")


def test_what_is_slow_to_open_is_tried_for_many_images_only() -> None:
    assert not worth_trying(20.0, 0.01, 1000)  # a third of 10 seconds to win
    assert worth_trying(20.0, 0.01, 10_000)
