"""Feature distillation against sums written out by hand."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.encoded import Encoded, Views
from pairwright.losses.distill.feature_match import FeatureMatch


def step(seed: int = 0, B: int = 6, D: int = 5, E: int = 4, **more) -> Views:
    g = torch.Generator().manual_seed(seed)
    text = Encoded.of(torch.randn(B, D, generator=g))
    teacher = Encoded(Encoded.of(torch.randn(B, E, generator=g)).z_BD.requires_grad_())
    return Views({"text": text, "teacher.text": teacher}, **more)


@pytest.mark.parametrize("kind", ["l2", "cos"])
def test_the_value_is_the_distance_written_out_row_by_row(kind):
    torch.manual_seed(0)
    loss, views = FeatureMatch(5, 4, kind=kind), step()
    total = 0.0
    for z, t in zip(views["text"].z_BD, views["teacher.text"].z_BD):
        p = loss.project.weight @ z + loss.project.bias
        if kind == "l2":
            total += float(sum((a - b) ** 2 for a, b in zip(p.detach(), t.detach()))) / 4
        else:
            total += 1 - float(((p @ t) / (p.norm() * t.norm())).detach())
    assert float(loss(views).detach()) == pytest.approx(total / 6, rel=1e-5)


def test_a_student_that_is_the_teacher_rotated_costs_nothing():
    views = step(D=4, E=4)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    turned = Views({"text": Encoded(views["teacher.text"].z_BD @ rotation), "teacher.text": views["teacher.text"]})
    loss = FeatureMatch(4, 4)
    with torch.no_grad():
        loss.project.weight.copy_(rotation)
        loss.project.bias.zero_()
    assert float(loss(turned).detach()) == pytest.approx(0.0, abs=1e-12)


def test_absent_teachers_do_not_count():
    present = torch.tensor([True, False, True, False, False, True])
    torch.manual_seed(0)
    loss, views = FeatureMatch(5, 4), step(present={"teacher.text": present})
    rest = Views({k: v.rows(present) for k, v in views.items()})
    assert float(loss(views).detach()) == pytest.approx(float(loss(rest).detach()), rel=1e-6)


def test_the_teacher_gets_no_gradient():
    views = step()
    leaf = views["teacher.text"].z_BD
    assert leaf.requires_grad
    FeatureMatch(5, 4)(views).backward()
    assert leaf.grad is None


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="l2"):
        FeatureMatch(5, 4, kind="l1")
