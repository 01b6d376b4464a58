"""The names that people import."""

from __future__ import annotations

import importlib.metadata
import pickle

import pytest

import daskcast

NAMES = [
    "ClusterError",
    "ConfigError",
    "DaskcastError",
    "DataError",
    "ForecastConfig",
    "Forecaster",
    "OwnModel",
    "Run",
    "RunOptions",
    "StoppedError",
    "StoreError",
    "TrackingError",
    "__version__",
    "cross_validation",
    "evaluate",
    "forecast",
]


def test_the_list_of_exports_is_what_it_was() -> None:
    """A name that goes away or comes in is a decision, made here."""
    assert daskcast.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_export_is_there_and_documented(name: str) -> None:
    """Each name resolves, is listed by dir, and says what it is."""
    found = getattr(daskcast, name)
    assert name in dir(daskcast)
    assert found.__doc__


def test_the_version_is_that_of_the_distribution() -> None:
    """There is one place that says the version."""
    assert daskcast.__version__ == importlib.metadata.version("daskcast")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Lazy exports behave like attributes."""
    with pytest.raises(AttributeError, match="no attribute 'forecasts'"):
        daskcast.forecasts  # noqa: B018


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("Error")])
def test_every_error_survives_pickling(name: str) -> None:
    """Errors cross process borders with all that they say."""
    error = getattr(daskcast, name)("first", "second")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
