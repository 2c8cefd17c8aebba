"""The WiSE-FT sweep: with alpha chosen on validation data of the fine-tuning task, other data gain and that task loses nothing."""

from __future__ import annotations

from claims import tuning as P
from claims import vector_towers as T
from claims.checks import wise_ft as W
from pairwright.ledger.check import Check
from pairwright.merge.alpha_sweep import AlphaSweep
from pairwright.merge.interpolate import Interpolate
from pairwright.merge.weights import merge_states

CHECK = Check(
    id="wise_ft_sweep",
    card="merge/alpha_sweep",
    claim="The alpha that is best on validation data of the fine-tuning task raises the mean over that task and shifted data.",
    plant="as in wise_ft; alpha from 0, 0.1 … 1 by accuracy on 400 validation rows of the style of the training",
    baseline="the fine-tuned model",
    control="the fine-tuned model with its hidden units in another order: the curve has a barrier and the search goes to an end",
    margin=0.01,
    control_margin=0.005,
    metric="mean of the accuracies in distribution, on two other styles and on untouched classes",
)


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    base, new = T.split(seed)
    start, tuned, known, shift = W.fine_tuned(seed, base, new)
    if not planted:
        W.shuffle(tuned, seed)
    val = P.only(P.scenes(800, 900_000 + 10_000 * seed, 2.5 * T.direction("style", seed, 0), W.NOISE), base)
    model = P.tower()

    def at(state) -> float:
        model.load_state_dict(state)
        return P.accuracy(model, val, T.named(base))

    sweep = AlphaSweep()
    alpha = sweep.search(start.state_dict(), tuned.state_dict(), at)
    model.load_state_dict(merge_states(Interpolate(alpha), start.state_dict(), [tuned.state_dict()]))
    score = lambda model: sum(P.accuracy(model, rows, names) for names, rows in known + shift) / len(known + shift)
    return {"ours": score(model), "baseline": score(tuned), "zero_shot": score(start), "alpha": alpha, "barrier": sweep.barrier_}
