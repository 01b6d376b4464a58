"""A light Gaussian process with a fixed kernel, for small sets of trials.

Covers the regressor that ``skopt.Optimizer`` takes as ``base_estimator``. Does not cover the
search (``search``). scikit-learn's own process optimises kernel parameters and validates its
input on every call, which costs hundreds of times more than fitting the models that are searched;
and its linear algebra differs in the last bits from one BLAS to another, where this one does not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from daskcast.models.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.records import Floats


class FixedGP(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Gaussian process with a squared exponential kernel of unit length and fixed noise.

    Parameters
    ----------
    noise : float
        Variance of the noise, as a share of the variance of the targets.

    Examples
    --------
    >>> import numpy as np
    >>> model = FixedGP(noise=1e-6).fit(np.array([[0.0], [1.0]]), [1.0, 3.0])
    >>> mean, std = model.predict(np.array([[1.0]]), return_std=True)
    >>> round(float(mean[0]), 3), round(float(std[0]), 3)
    (3.0, 0.001)
    """

    def __init__(self, noise: float = 0.05) -> None:
        self.noise = noise

    def __sklearn_clone__(self) -> Self:
        """Give an unfitted copy, without the validation that a general clone does."""
        return type(self)(self.noise)

    def fit(self, X: Floats, y: Sequence[float]) -> Self:
        """Keep the trials, their losses standardised to mean 0 and variance 1.

        Parameters
        ----------
        X : ndarray of float64, shape [n, d]
        y : sequence of float, length n
        """
        losses = np.asarray(y, dtype=np.float64)
        self.X_ = np.ascontiguousarray(X, dtype=np.float64)
        self.centre_ = float(losses.mean())
        self.scale_ = float(losses.std()) or 1.0
        self.y_ = (losses - self.centre_) / self.scale_
        return self

    def predict(self, X: Floats, return_std: bool = False) -> Floats | tuple[Floats, Floats]:
        """Give the posterior mean, and its standard deviation where asked for.

        Parameters
        ----------
        X : ndarray of float64, shape [c, d]
        return_std : bool
        """
        points = np.ascontiguousarray(X, dtype=np.float64)
        mean = np.empty(len(points))
        std = np.empty(len(points))
        posterior(self.X_, self.y_, points, self.noise, mean, std)
        mean = self.centre_ + self.scale_ * mean
        return (mean, self.scale_ * std) if return_std else mean


@kernel
def covariance(a: Floats, b: Floats) -> float:
    """Give the squared exponential kernel of two points."""
    total = 0.0
    for j in range(len(a)):
        total += (a[j] - b[j]) * (a[j] - b[j])
    return math.exp(-0.5 * total)


@kernel
def posterior(
    x: Floats, y: Floats, points: Floats, noise: float, mean: Floats, std: Floats
) -> None:
    """Write the posterior mean and standard deviation at ``points`` [c, d].

    By Cholesky's factor in plain loops (Rasmussen and Williams, 2006, algorithm 2.1).
    """
    n = len(x)
    low = np.zeros((n, n))
    z = np.zeros(n)
    solved = np.zeros(n)
    for i in range(n):
        for j in range(i + 1):
            total = covariance(x[i], x[j])
            if i == j:
                total += noise
            for k in range(j):
                total -= low[i, k] * low[j, k]
            low[i, j] = math.sqrt(total) if i == j else total / low[j, j]
        total = y[i]
        for k in range(i):
            total -= low[i, k] * z[k]
        z[i] = total / low[i, i]
    for c in range(len(points)):
        value = 0.0
        rest = 1.0
        for i in range(n):
            total = covariance(points[c], x[i])
            for k in range(i):
                total -= low[i, k] * solved[k]
            solved[i] = total / low[i, i]
            value += solved[i] * z[i]
            rest -= solved[i] * solved[i]
        mean[c] = value
        std[c] = math.sqrt(max(rest, 1e-12))
