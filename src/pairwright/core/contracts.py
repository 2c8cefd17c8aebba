"""The contracts: what each kind of method eats and returns. Read this first; the shape legend is in encoded.py.

Protocols, not base classes: a method is a plain class or function with these members. The contract tests in tests/contracts find every
method through the index and check the laws of its leaf, so that a new file is covered the moment it exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from pairwright.core.encoded import Encoded, Pairs, Views
from pairwright.core.features import ClassText, Features


@runtime_checkable
class Similarity(Protocol):
    """Rows against columns -> logits (b, B), without scale and bias. An nn.Module where it has parameters.

    Each logit depends on its row and its column alone. An attribute ``symmetric = True`` says that exchanging the arguments transposes.
    """

    def __call__(self, q: Encoded, k: Encoded) -> Tensor: ...


@runtime_checkable
class RowLoss(Protocol):
    """A loss that is a sum over rows: it sees one block of rows and all columns, never a model, a rank or a chunk.

    needs: names of the two views (query, key). directions: ``"both"`` averages query->key and key->query, ``"one"`` takes the first.
    `rows` returns one value per row; a row without a positive must return 0. The step takes the mean over the global batch.
    """

    needs: tuple[str, str]
    directions: Literal["one", "both"]

    def rows(self, p: Pairs) -> Tensor: ...


@runtime_checkable
class TiledLoss(RowLoss, Protocol):
    """A row loss that also has a closed form per tile of logits, which the engine takes for large batches: less time and memory.

    `tile(t: core.tiles.Tile)` returns the tile's share of the weighted sum of row losses (and of column losses, where `directions` is
    "both"), and the gradient of the whole sum with respect to the tile's logits. log_sums: whether it reads the log-sums of the lines.
    The sum over tiles must equal what `rows` gives.
    """

    log_sums: bool

    def tile(self, t: Any) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class Objective(Protocol):
    """A loss that wants whole views (batch statistics, teachers, several views): views -> scalar (b,) mean, with named parts.

    needs: the views that the step has to make.
    """

    needs: tuple[str, ...]

    def __call__(self, views: Views) -> Tensor: ...


@runtime_checkable
class Head(Protocol):
    """A classifier on cached features. `__init__` stores, `fit` learns, learned names end in ``_``; a second fit equals a fresh one.

    needs: any of ``"train"`` (labelled features) and ``"text"`` (class text), and, where a head is nothing without them, what its rows have
    to carry: ``"tokens"`` (patch tokens), ``"side.NAME"`` (a second feature), ``"grades"`` (amounts in place of classes).
    There is no test argument. `val` is used only to choose hyper-parameters, and only where it is given.
    """

    needs: frozenset[str]

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> Head: ...

    def logits(self, z_ND: Any) -> Tensor: ...


@runtime_checkable
class TransductiveHead(Protocol):
    """A head that looks at the unlabelled rows it has to classify, all at once."""

    needs: frozenset[str]

    def fit_logits(self, x: Features, text: ClassText) -> Tensor: ...


@runtime_checkable
class StreamHead(Protocol):
    """A head that meets its inputs one at a time and may learn from them: augmented views of one image (A, D) -> (C,)."""

    def step(self, views_AD: Tensor) -> Tensor: ...

    def reset(self) -> None: ...


@runtime_checkable
class PromptLearner(Protocol):
    """Learned tokens in a frozen encoder."""

    def class_text(self, model: Any, ids_CL: Tensor, image: Encoded | None = None) -> Tensor: ...

    def deep(self, tower: str) -> Sequence[Tensor]: ...


@runtime_checkable
class Merger(Protocol):
    """Weights of S tuned models and their base -> one tensor, streamed per tensor. `scan` is optional."""

    def merge(self, name: str, base: Tensor, tuned_S: Sequence[Tensor], *, stats: Any, state: Any) -> tuple[Tensor, Any]: ...


@runtime_checkable
class Metric(Protocol):
    """Pure: (scores, truth) -> float, or one value per item where `items` is asked for."""

    def __call__(self, scores: Any, truth: Any) -> float: ...


@runtime_checkable
class Tower(Protocol):
    """One modality: a batch -> Encoded. `width` is the joint width D; `points` names the extension points it offers, a subset of
    ``{"taps", "tokens", "deep", "mix", "attend", "patch_dropout"}``."""

    width: int
    points: frozenset[str]

    def __call__(self, x: Tensor, **ask: Any) -> Encoded: ...


@runtime_checkable
class LanguageModel(Protocol):
    """What decode rules and connectors need of a language model."""

    def embed(self, ids_BL: Tensor) -> Tensor: ...

    def run(self, embeddings_BLE: Tensor) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class Scorer(Protocol):
    """Rows of a table -> one column of numbers (NaN where the row cannot be scored)."""

    def score(self, rows: Any) -> Any: ...


@runtime_checkable
class Selector(Protocol):
    """A table -> the ids to keep, `budget` of them, the same for the same seed."""

    def select(self, table: Any, budget: int, seed: int) -> Sequence[str]: ...


@runtime_checkable
class Sampler(Protocol):
    """The order of samples: global batches of row numbers by epoch, the same for any number of workers and ranks.

    spec() says in JSON what the order depends on, so that a saved position is not resumed in another order.
    """

    n: int
    batch_size: int
    seed: int

    def batches(self, epoch: int) -> Sequence[Any]: ...

    def spec(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Modifier(Protocol):
    """A plug of the training loop: weight averaging, SAM, LoRA. `state` must be enough to resume bit for bit.

    attach: before the stage, when `Stage.trainable` has been applied; it may replace weights and say which ones move. fold: after the
    stage, the model is a plain one again that computes the same.
    """

    def attach(self, model: Any) -> None: ...

    def after_step(self, model: Any, step: int) -> None: ...

    def fold(self, model: Any) -> None: ...

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
