"""What a mechanism check states before it runs: the claim, the plant, the baseline, the control and the margins."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Check:
    """One mechanism check, a file ``claims/checks/<id>.py`` that defines ``CHECK = Check(...)`` and the function
    ``arms(seed: int, planted: bool) -> dict[str, float]``.

    ``arms`` returns one figure for each arm: ``"ours"``, ``"baseline"``, and any further ones that are worth printing. With
    ``planted=True`` the data hold what the paper is about; with ``planted=False`` (the control) they do not, or the mechanism is switched
    off, and the advantage has to vanish. A file may define ``fixtures()``, which builds or loads what is cached and shared; its time does
    not count.

    The advantage is ours - baseline (baseline - ours where lower is better). The check is `shown` if the planted advantage reaches
    `margin` in at least `need` of `seeds` seeds and the mean control advantage is at most `control_margin`; `partly` if only the first
    holds; otherwise `not_shown`.
    """

    id: str
    card: str
    """Index id of the mechanism, ``heads/cache/tip_adapter``."""
    claim: str
    """The sentence that the check can refute."""
    plant: str
    baseline: str
    control: str
    margin: float
    control_margin: float
    seeds: int = 5
    need: int = 4
    metric: str = "accuracy"
    higher_is_better: bool = True
    limit_seconds: float = field(default=60.0)
    """All seeds, planted and control together, on 2 cores: twice as much processor time, which a busy machine does not change."""

    def __post_init__(self) -> None:
        if not 1 <= self.need <= self.seeds:
            raise ValueError(f"check {self.id}: need={self.need} of seeds={self.seeds} is not possible")
        if self.margin <= 0:
            raise ValueError(f"check {self.id}: a margin of {self.margin} shows nothing; state an advantage above 0")
        if not 0 < self.limit_seconds <= 60:
            raise ValueError(f"check {self.id}: limit_seconds={self.limit_seconds} is outside (0, 60]; move slow parts into fixtures()")

    def advantage(self, arms: dict[str, float]) -> float:
        """How much better ours is than the baseline, in units of the metric."""
        gain = arms["ours"] - arms["baseline"]
        return gain if self.higher_is_better else -gain
