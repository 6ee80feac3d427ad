"""Bootstrap resamples of sums: for scores that are ratios of sums, not means of one number a picture (Efron 1979)."""

import numpy as np
from numpy.typing import NDArray

RESAMPLES, LEVEL = 1000, 0.95  # as for all intervals of sslcli


def resampled(parts: NDArray[np.generic], seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Sums over as many of `parts [M, ...]` as there are, drawn with replacement, `[R, ...]`.

    The same seed draws the same ones, whatever is summed.
    """
    count = len(parts)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.asarray(np.tensordot(drawn.astype(np.float64), parts.astype(np.float64), axes=1))


def ends(values: NDArray[np.float64]) -> list[float]:
    """Where 95 % of resampled scores `[R]` lie."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
