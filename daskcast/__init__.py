"""Forecasts for many series, one model each: tuned, tracked and accounted for.

Examples
--------
>>> from daskcast import demo, forecast
>>> run = forecast(demo.airports(8), h=12, search="portfolio", cluster="serial")  # doctest: +SKIP
>>> run.forecasts, run.entities, run.failures  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daskcast.api import cross_validation, forecast
    from daskcast.config import ForecastConfig, RunOptions
    from daskcast.errors import (
        ClusterError,
        ConfigError,
        DaskcastError,
        DataError,
        StoppedError,
        StoreError,
        TrackingError,
    )
    from daskcast.evaluation import evaluate
    from daskcast.forecaster import Forecaster
    from daskcast.models.own import OwnModel
    from daskcast.runs import Run

#: Where each public name lives: it is imported when it is first asked for, so that
#: ``import daskcast`` costs next to nothing.
_HOMES = {
    "ClusterError": "errors",
    "ConfigError": "errors",
    "DaskcastError": "errors",
    "DataError": "errors",
    "ForecastConfig": "config",
    "Forecaster": "forecaster",
    "OwnModel": "models.own",
    "Run": "runs",
    "RunOptions": "config",
    "StoppedError": "errors",
    "StoreError": "errors",
    "TrackingError": "errors",
    "cross_validation": "api",
    "evaluate": "evaluation",
    "forecast": "api",
}

__all__ = [
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


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - costs more than all the rest

        return version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
