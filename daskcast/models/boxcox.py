"""Compiled Box-Cox transform and its inverse (Box and Cox, 1964).

Covers the arithmetic. Does not cover which powers are tried, nor the shift of data with zeros
(``ets``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from daskcast.models.kernels import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@kernel
def transform(y: Floats, lam: float, out: Floats) -> None:
    """Write the Box-Cox transform of ``y`` to ``out``; NaN stays NaN."""
    for t in range(len(y)):
        if math.isnan(y[t]):
            out[t] = y[t]
        elif lam == 0.0:
            out[t] = math.log(y[t])
        else:
            out[t] = (y[t] ** lam - 1.0) / lam


@kernel
def inverse(z: Floats, lam: float, out: Floats) -> None:
    """Write the inverse of the Box-Cox transform to ``out``; below its range gives 0."""
    for k in range(len(z)):
        if lam == 0.0:
            out[k] = math.exp(z[k])
        else:
            base = lam * z[k] + 1.0
            out[k] = 0.0 if base <= 0.0 else base ** (1.0 / lam)
