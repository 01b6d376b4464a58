"""Families that stand on statsmodels: the contract, and the same figures as statsmodels itself."""

from __future__ import annotations

import pytest

from daskcast.models import Sarimax, StlEts, UnobservedComponents
from daskcast.testing import ModelContract


class TestSarimax(ModelContract):
    """Seasonal ARIMA."""

    every = 16

    @pytest.fixture
    def family(self):
        return Sarimax()


class TestUnobserved(ModelContract):
    """Unobserved components: dummies, and trigonometric seasons."""

    every = 7

    @pytest.fixture
    def family(self):
        return UnobservedComponents()


class TestStlEts(ModelContract):
    """STL with exponential smoothing."""

    @pytest.fixture
    def family(self):
        return StlEts()
