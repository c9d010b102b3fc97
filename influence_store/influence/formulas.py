"""Which numbers do the methods read off the log-probabilities of a response's tokens?

Every function takes one response: `logp` (T,) in nats, one entry per scored token, and is NaN
for T = 0, because nothing was measured. Sums and means are float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def rms_miss(logp: Array) -> float:
    """Distance of the model to the response, sqrt(mean (1 − p_t)²) in [0, 1]; higher = worse.

    The length-normalised L2 distance of DELIFT, arXiv 2411.04425 §3.
    """
    if len(logp) == 0:
        return float("nan")
    miss = -np.expm1(np.asarray(logp, np.float64))
    return float(np.sqrt(np.mean(miss**2)))


def mean_logp(logp: Array) -> float:
    """Mean log-probability per token, nats, ≤ 0; higher = better predicted."""
    return float(np.mean(logp, dtype=np.float64)) if len(logp) else float("nan")


def perplexity(logp: Array) -> float:
    """exp(−mean logp) in [1, ∞); higher = worse predicted."""
    return float(np.exp(-mean_logp(logp)))


def ifd(logp: Array, logp_alone: Array) -> float:
    """Instruction-following difficulty PPL(y | x) / PPL(y), arXiv 2308.12032; ≥ 1: x misleads.

    Formed from the logarithms, so that two large perplexities do not overflow.
    """
    return float(np.exp(mean_logp(logp_alone) - mean_logp(logp)))


def pvi_bits(logp: Array, logp_alone: Array) -> float:
    """Σ log2 p(y | x) − log2 p(y): bits that x tells about y, arXiv 2110.08420 Eq. 4.

    With one model that was not fine-tuned for either side, ifd = 2^(−pvi / T).
    """
    if len(logp) == 0:
        return float("nan")
    difference = np.sum(logp, dtype=np.float64) - np.sum(logp_alone, dtype=np.float64)
    return float(difference / np.log(2.0))


def el2n_token(logp: Array, sum_p2: Array) -> npt.NDArray[np.float64]:
    """‖p_t − onehot(y_t)‖₂ per token (T,), in [0, √2]; higher = harder (arXiv 2107.07075).

    `sum_p2` is Σ_v p_t(v)², so the vocabulary-wide vector is never formed. Written as
    (1 − p_y)² + Σ_{v≠y} p(v)², equal to Σ p² − 2 p_y + 1, whose second term lies between 0 and
    (1 − p_y)²: keeping it there stops float32 rounding from deciding the value of easy tokens.
    """
    nats = np.minimum(np.asarray(logp, np.float64), 0.0)
    miss2 = np.expm1(nats) ** 2
    others2 = np.asarray(sum_p2, np.float64) - np.exp(2.0 * nats)
    return np.asarray(np.sqrt(miss2 + np.clip(others2, 0.0, miss2)), np.float64)
