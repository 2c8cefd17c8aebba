"""The feature-level twin of the world: class features and class text with planted factors, in well under a second, no pixels, no towers.

    image row of class c = sqrt(1 - modes^2) m_c + modes (+-v_c) + within noise + background + style + nuisance,   then offset, then unit
    prompt p of class c  = m_c + text_noise n_c + prompt_noise e_cp + template t_p + nuisance + hubs,   then rotation, offset, unit

Every factor has its own random stream, so turning one on leaves the draws of all others untouched, and strength 0 is its exact absence.
Rows are drawn shot by shot: the rows of a 4-shot problem are the first rows of the 16-shot problem of the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import numpy_rng

Array = np.ndarray
_NUISANCE = 4  # directions of shared nuisance variation


@dataclass(frozen=True)
class Sim:
    """A planted few-shot problem. train, val, test: labelled; pool: unlabelled rows from the test distribution (its y_N is None).

    truth[split]: per-row int64 arrays ``y`` (clean label), ``background``, ``style``, ``mode`` (0/1), ``group`` (same value = copies).
    means_CD: the true class means; nuisance_KD: the orthonormal nuisance directions; prior_C: the class prior of test and pool.
    """

    train: Features
    val: Features
    test: Features
    text: ClassText
    pool: Features
    truth: Mapping[str, Mapping[str, Array]]
    means_CD: torch.Tensor
    nuisance_KD: torch.Tensor
    prior_C: torch.Tensor


def simulate(
    seed: int,
    *,
    classes: int = 20,
    shots: int = 16,
    val_per_class: int = 4,
    test_per_class: int = 50,
    pool_per_class: int = 20,
    width: int = 64,
    within: float = 2.4,
    anisotropy: float = 0.3,
    text_noise: float = 1.0,
    uneven: float = 0.0,
    prompts: int = 4,
    prompt_noise: float = 0.8,
    template: float = 0.0,
    nuisance: float = 0.0,
    modes: float = 0.0,
    background: float = 0.0,
    spurious: float = 0.0,
    style: float = 0.0,
    entangled: float = 0.0,
    styles: int = 3,
    gap: float = 0.0,
    offset: float = 0.0,
    rotation: float = 0.0,
    hubs: float = 0.0,
    duplicates: float = 0.0,
    label_noise: float = 0.0,
    imbalance: float = 0.0,
    label_shift: float = 0.0,
    scale: float = 16.0,
) -> Sim:
    """Synthetic CLIP features with class text for checks of few-shot heads, mergers, search and calibration.

    Lengths are relative to the class means (length 1). Draws of `within`, `text_noise` … have that expected length in total, not per axis.

    within: length of the within-class noise. anisotropy: its spectrum, eigenvalue of axis d ~ (d+1)^(-2 anisotropy) in a random basis
    shared by all classes (0 = round; a whitening head has nothing to gain).
    text_noise: error of a class's text, shared by its prompts. uneven in [0, 1]: half of the classes get variance (1 + uneven), half
    (1 - uneven). prompts: prompts a class. prompt_noise: own error of each prompt (averaging prompts removes it). template: offset of
    each prompt template, the same for all classes.
    nuisance: length of the variation of images, and of the error of class text, along 4 shared directions that carry no class.
    modes in [0, 1]: share of a class's signal that sits at +v_c or -v_c, so that no linear classifier can use it but neighbours can.
    background: length of a background vector on every image (as many kinds as classes). spurious in [0, 1]: probability that a train or
    val row has the background of its class instead of a random one; in test and pool backgrounds are always random.
    style: length of a style's offset; train and val have styles 0 … styles-2, test and pool the unseen last one. entangled in [0, 1]: the
    share of that offset that differs by class.
    gap: text and images move apart by this length along one direction. offset: both move the same way (raises all cosines).
    rotation in [0, 1]: text turned by rotation x 90 degrees in width/2 random planes (an orthogonal map undoes it).
    hubs: length by which the text of every fifth class leans along a main axis of image variation, so that it is near many images.
    duplicates in [0, 1): share of train rows that are near copies of an earlier row of their class. label_noise in [0, 1): share of
    train labels replaced by another class.
    imbalance in [0, 1): the rarest class has (1 - imbalance) of `shots` (geometric in between, at least 1). label_shift: test and pool
    prior ~ exp(label_shift x normal). scale: the logit scale written into the class text (16 is about calibrated at the defaults).

    At the defaults: zero-shot about 0.6, 16-shot logistic regression about 0.8.
    """
    _at_least(classes=(classes, 2), width=(width, 8), shots=(shots, 1), prompts=(prompts, 1), styles=(styles, 2))
    _shares(1.0, uneven=uneven, modes=modes, spurious=spurious, entangled=entangled, rotation=rotation)
    _shares(0.999, duplicates=duplicates, label_noise=label_noise, imbalance=imbalance)
    if spurious and not background:
        raise ValueError("spurious correlates class and background: set background > 0 too (try background=1.0)")
    C, D = classes, width
    rng = lambda *what: numpy_rng("simulate", seed, *what)
    axis = 1 / np.sqrt(D)
    means_CD = _unit(rng("means").standard_normal((C, D)))
    modes_CD = _unit(rng("modes").standard_normal((C, D)))
    nuisance_KD = np.linalg.qr(rng("nuisance").standard_normal((D, D)))[0][:, :_NUISANCE].T
    backs_CD = _unit(rng("backgrounds").standard_normal((C, D)))
    common_SD = _unit(rng("styles").standard_normal((styles, D)))
    own_SCD = _unit(rng("styles of classes").standard_normal((styles, C, D)))
    style_SCD = style * (np.sqrt(1 - entangled) * common_SD[:, None] + np.sqrt(entangled) * own_SCD)
    gap_D, offset_D = np.linalg.qr(rng("gap").standard_normal((D, 2)))[0].T
    basis_DD = np.linalg.qr(rng("basis").standard_normal((D, D)))[0]
    spread_D = np.arange(1, D + 1) ** -float(anisotropy)
    shape_DD = (within * spread_D / np.linalg.norm(spread_D))[:, None] * basis_DD
    prior_C = np.exp(label_shift * rng("prior").standard_normal(C))
    prior_C /= prior_C.sum()

    def rows(split: str, per_class: int) -> tuple[Array, dict[str, Array]]:
        """Raw image rows (shot-major) and their truth."""
        draw = lambda what: rng(split, what)
        n, seen = per_class * C, split in ("train", "val")
        y = np.tile(np.arange(C), per_class)
        if label_shift and not seen:
            y = draw("labels").choice(C, n, p=prior_C)
        mode = draw("mode").integers(0, 2, n)
        back = draw("background").integers(0, C, n)
        own = draw("spurious").random(n) < (spurious if seen else 0.0)
        back = np.where(own, y, back)
        kind = draw("style").integers(0, styles - 1, n) if seen else np.full(n, styles - 1)
        x_ND = np.sqrt(1 - modes**2) * means_CD[y] + modes * (2 * mode - 1)[:, None] * modes_CD[y]
        x_ND = x_ND + draw("within").standard_normal((n, D)) @ shape_DD
        x_ND += nuisance * draw("nuisance").standard_normal((n, _NUISANCE)) / np.sqrt(_NUISANCE) @ nuisance_KD
        x_ND += background * backs_CD[back] + style_SCD[kind, y] + offset * offset_D - 0.5 * gap * gap_D
        return x_ND, {"y": y, "background": back, "style": kind, "mode": mode, "group": np.arange(n)}

    def split(name: str, per_class: int) -> tuple[Features, dict[str, Array]]:
        x_ND, truth = rows(name, per_class)
        labels = truth["y"]
        if name == "train":
            if duplicates:
                source = _copies(rng("copies"), per_class, C, duplicates)
                x_ND = x_ND[source] + 0.05 * axis * rng("copy noise").standard_normal(x_ND.shape)
                truth = {k: v[source] for k, v in truth.items()}
            flip = rng("label noise").random(len(labels)) < label_noise
            labels = np.where(flip, (truth["y"] + rng("wrong labels").integers(1, C, len(labels))) % C, truth["y"])
            quota_C = np.maximum(1, np.round(per_class * (1 - imbalance) ** (rng("rarity").permutation(C) / max(C - 1, 1))))
            keep = np.repeat(np.arange(per_class), C) < np.tile(quota_C, per_class)
            x_ND, labels, truth = x_ND[keep], labels[keep], {k: v[keep] for k, v in truth.items()}
        ids = tuple(f"{name}/{i}" for i in range(len(x_ND)))
        y = None if name == "pool" else torch.from_numpy(labels)
        z = torch.from_numpy(_unit(x_ND)).float()
        return Features(z, y, ids, encoder=f"simulated-{seed}", split=name, classes=names), truth

    names = tuple(f"class {c}" for c in range(C))
    sizes = {"train": shots, "val": val_per_class, "test": test_per_class, "pool": pool_per_class}
    parts = {name: split(name, n) for name, n in sizes.items()}

    sign_C = np.where(rng("uneven").permutation(C) % 2 == 0, 1.0, -1.0)
    noise_CD = text_noise * axis * np.sqrt(1 + uneven * sign_C)[:, None] * rng("text noise").standard_normal((C, D))
    w_CD = means_CD + noise_CD + nuisance * rng("text nuisance").standard_normal((C, _NUISANCE)) / np.sqrt(_NUISANCE) @ nuisance_KD
    for k, c in enumerate(rng("hubs").permutation(C)[: (C + 4) // 5]):
        w_CD[c] += hubs * basis_DD[k % D]
    p_PCD = w_CD + prompt_noise * axis * rng("prompts").standard_normal((prompts, C, D))
    p_PCD = p_PCD + template * _unit(rng("templates").standard_normal((prompts, 1, D)))
    p_PCD = p_PCD @ _turn(rng("rotation"), D, rotation) + offset * offset_D + 0.5 * gap * gap_D
    p_CPD = torch.from_numpy(_unit(p_PCD).transpose(1, 0, 2).copy()).float()
    W_CD = torch.nn.functional.normalize(p_CPD.mean(1), dim=-1)
    text = ClassText(W_CD, names, p_CPD, encoder=f"simulated-{seed}", scale=scale)
    as_torch = lambda a: torch.from_numpy(np.ascontiguousarray(a)).float()
    truth = {name: part[1] for name, part in parts.items()}
    return Sim(
        *(parts[k][0] for k in ("train", "val", "test")),
        text,
        parts["pool"][0],
        truth,
        as_torch(means_CD),
        as_torch(nuisance_KD),
        as_torch(prior_C),
    )


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _turn(rng: np.random.Generator, D: int, strength: float) -> Array:
    """Orthogonal (D, D): rotation by strength x 90 degrees in D // 2 random planes; the identity at 0."""
    q_DD = np.linalg.qr(rng.standard_normal((D, D)))[0]
    turn = np.eye(D)
    angle = strength * np.pi / 2
    for k in range(0, D - 1, 2):
        turn[k : k + 2, k : k + 2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return q_DD @ turn @ q_DD.T


def _copies(rng: np.random.Generator, shots: int, C: int, rate: float) -> Array:
    """For every row (shot-major) the row it shows: itself, or an earlier row of its class. The first shot is never a copy."""
    source = np.arange(shots * C).reshape(shots, C)
    copied = rng.random((shots, C)) < rate * shots / max(shots - 1, 1)
    pick = rng.random((shots, C))
    for i in range(1, shots):
        earlier = source[(pick[i] * i).astype(int), np.arange(C)]
        source[i] = np.where(copied[i], earlier, source[i])
    return source.reshape(-1)


def _at_least(**sizes: tuple[int, int]) -> None:
    for name, (value, least) in sizes.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def _shares(top: float, **shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= top:
            raise ValueError(f"{name} must lie between 0 and {top:g}, got {value}")
