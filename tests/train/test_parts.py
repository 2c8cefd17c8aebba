import pytest
import torch
from torch import nn
from toy import model

from pairwright.train import checkpoint, schedule
from pairwright.train.ema import EMA
from pairwright.train.optim import OptimConfig, adamw, bound_logit_scale


def test_cosine_has_its_landmarks():
    assert schedule.cosine(0, 100, 10) == pytest.approx(0.1)
    assert schedule.cosine(9, 100, 10) == pytest.approx(1.0)
    assert schedule.cosine(55, 100, 10, floor=0.2) == pytest.approx(0.6)
    assert schedule.cosine(100, 100, 10, floor=0.2) == pytest.approx(0.2)
    assert schedule.cosine(500, 100) == pytest.approx(0.0)


def test_no_decay_for_biases_norms_positions_and_scale():
    optimizer = adamw(model().named_parameters(), OptimConfig(weight_decay=0.3))
    decayed = {n for g in optimizer.param_groups if g["weight_decay"] for n in g["names"]}
    spared = {n for g in optimizer.param_groups if not g["weight_decay"] for n in g["names"]}
    assert all(k in spared for k in ("logit_scale", "towers.text.token_embedding.weight", "towers.text.positional_embedding"))
    assert all("weight" in n or "proj" in n for n in decayed)
    assert not any("ln" in n or "norm" in n or n.endswith("bias") for n in decayed)
    assert any("mlp" in n for n in decayed)
    assert len(decayed) + len(spared) == len(list(model().parameters()))


def test_lr_factor_is_the_longest_prefix():
    config = OptimConfig(lr_scale=(("towers", 0.5), ("towers.text", 0.1)))
    assert [config.factor(n) for n in ("towers.text.ln", "towers.image.ln", "logit_scale")] == [0.1, 0.5, 1.0]


def test_a_stage_that_trains_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        adamw([], OptimConfig())


def test_logit_scale_stays_within_clips_bounds():
    m = model()
    with torch.no_grad():
        m.logit_scale.fill_(9.0)
    bound_logit_scale(m)
    assert float(m.scale.detach()) == pytest.approx(100.0)


def test_ema_is_the_closed_form_average():
    m = nn.Linear(1, 1, bias=False)
    ema = EMA(0.5)
    with torch.no_grad():
        m.weight.fill_(0.0)
        ema.attach(m)
        expected = 0.0
        for step in range(20):
            m.weight.fill_(float(step))
            ema.after_step(m, step)
            decay = min(0.5, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * step
    assert float(ema.shadow["weight"]) == pytest.approx(expected, rel=1e-6)
    ema.fold(m)
    assert float(m.weight) == pytest.approx(expected, rel=1e-6)


def save(folder, step):
    return checkpoint.save(folder, step, {"model": {"w": torch.full((3,), float(step))}}, {"stage": 0, "stage_step": step}, keep=2)


def test_checkpoints_keep_the_newest_and_fall_back_when_one_is_damaged(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert [p.name for p in sorted(tmp_path.glob("step-*"))] == ["step-00000002", "step-00000003"]
    newest = checkpoint.latest(tmp_path)
    tensors, state = checkpoint.load(newest)
    assert torch.equal(tensors["model"]["w"], torch.full((3,), 3.0))
    assert state["stage_step"] == 3
    raw = bytearray((newest / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (newest / "model.safetensors").write_bytes(raw)
    assert checkpoint.latest(tmp_path).name == "step-00000002"


@pytest.mark.parametrize("broken", ["missing state", "missing tensors", "truncated state"])
def test_a_half_written_checkpoint_does_not_count(tmp_path, broken):
    save(tmp_path, 1)
    half = save(tmp_path, 2)
    if broken == "missing state":
        (half / "state.json").unlink()
    elif broken == "missing tensors":
        (half / "model.safetensors").unlink()
    else:
        (half / "state.json").write_text((half / "state.json").read_text()[:20])
    assert checkpoint.latest(tmp_path).name == "step-00000001"


def test_no_checkpoint_at_all(tmp_path):
    assert checkpoint.latest(tmp_path / "nowhere") is None
