"""Fixtures that every test may use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

# Kernels compile on first use, so no deadline. Runs repeat; to look further:
# pytest --hypothesis-profile=explore
settings.register_profile("repeat", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("repeat")


@pytest.fixture
def rng() -> np.random.Generator:
    """Give a seeded generator, fresh for each test: no global seed."""
    return np.random.default_rng(20260817)
