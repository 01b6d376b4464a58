"""Fixtures that every test may use."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Give a seeded generator, fresh for each test: no global seed."""
    return np.random.default_rng(20260817)
