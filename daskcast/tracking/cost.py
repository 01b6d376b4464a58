"""What tracking a run costs: runs, requests and time, known before it begins.

Covers counting and an estimate for each kind of store. Does not cover sending (``writer``), nor
what the work costs (``plan``). Imports no MLflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daskcast.tracking.uris import is_database, redact, resolve_uri

if TYPE_CHECKING:
    from daskcast.config import RunOptions

OPEN_S = {"sqlite": 4.0, "database": 3.0, "server": 2.0}
"""Until the store is open, imports included; measured with a new SQLite store, and a server."""

RUN_S = {"sqlite": 0.024, "database": 0.040, "server": 0.053}
"""One child run of three requests, measured with SQLite and a server on the same machine."""

BULK_S = 0.004
"""One child run among many that are written at a time, measured with SQLite beside busy workers."""

_PARENT = 4
"""Requests for the parent."""

HOSTED_PER_S, HOSTED_RUNS = 120, 500_000
"""Of Databricks, as its pages on resource limits say: requests of a workspace, runs of an
experiment."""


@dataclass(frozen=True, slots=True)
class TrackingCost:
    """What tracking a run costs.

    Parameters
    ----------
    store : str
        Address of the store that was assumed, without credentials; empty without tracking.
    kind : {"sqlite", "database", "server", ""}
    n_runs, n_requests : int
        A server is assumed to take one run at a time: whether it takes many shows when it is asked.
    seconds : float
        From the start of the run to the end of tracking, were there no other work.
    """

    store: str = ""
    kind: str = ""
    n_runs: int = 0
    n_requests: int = 0
    seconds: float = 0.0


def tracking_cost(options: RunOptions, n_entities: int, n_trials: int) -> TrackingCost:
    """Estimate what tracking costs a run with these options.

    Parameters
    ----------
    options : RunOptions
    n_entities, n_trials : int
        Entities, and trials of each.

    Raises
    ------
    ConfigError
        Where no tracking store can have the address.
    """
    if not options.tracking:
        return TrackingCost()
    uri = resolve_uri(options.tracking_uri)
    database = "sqlite" if uri.startswith("sqlite") else "database"
    kind = database if is_database(uri) else "server"
    detail = options.track_detail
    n_children = _n_children(n_entities, n_trials, detail)
    in_bulk = _in_bulk(kind, options.tracking_bulk)
    requests = n_requests(n_entities, n_trials, detail=detail)
    return TrackingCost(
        store=redact(uri),
        kind=kind,
        n_runs=1 + n_children,
        n_requests=_PARENT if in_bulk else requests,
        seconds=OPEN_S[kind] + n_children * (BULK_S if in_bulk else RUN_S[kind]),
    )


_HERE = {"localhost", "127.0.0.1", "::1"}


def hosted_limits(cost: TrackingCost) -> str:
    """Tell what limits of hosted servers mean for a run; empty for a store of one's own.

    Parameters
    ----------
    cost : TrackingCost

    Examples
    --------
    >>> print(hosted_limits(TrackingCost("http://mlflow:5000", "server", 10_001, 30_004)))
    Databricks: 120 requests a second, so at least 251 s; 500,000 runs in an experiment
    """
    if cost.kind != "server" or urlsplit(cost.store).hostname in _HERE:
        return ""
    least = math.ceil(cost.n_requests / HOSTED_PER_S)
    told = (
        f"Databricks: {HOSTED_PER_S} requests a second, so at least {least:,} s; "
        f"{HOSTED_RUNS:,} runs in an experiment"
    )
    return f"{told}, fewer than this run makes" if cost.n_runs > HOSTED_RUNS else told


def _in_bulk(kind: str, bulk: str) -> bool:
    return bulk == "database" if kind == "database" else kind == "sqlite" and bulk != "off"


def _n_children(n_entities: int, n_trials: int, detail: str) -> int:
    return {"summary": 0, "entity": n_entities, "trial": n_entities * (1 + n_trials)}[detail]


def n_requests(n_entities: int, n_trials: int = 0, *, detail: str = "entity") -> int:
    """Tell how many requests a run costs: three for each child run, four for the parent.

    Parameters
    ----------
    n_entities, n_trials : int
        Entities, and trials of each.
    detail : {"summary", "entity", "trial"}

    Examples
    --------
    >>> n_requests(3000, 24), n_requests(3000, 24, detail="trial")
    (9004, 225004)
    """
    return 3 * _n_children(n_entities, n_trials, detail) + _PARENT
