"""What ``run.json`` says, in words.

Covers the line below the title, the options and the facts of a run as pairs of texts. Does not
cover the numbers of the entities (``page``).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Pairs = list[tuple[str, str]]

#: What an option that was not given means.
_NOT_GIVEN = {
    "freq": "inferred for each entity",
    "season_length": "inferred for each entity",
    "search_seconds": "no limit",
    "step_size": "chosen from the horizon",
    "backtest_step": "the horizon",
    "input_size": "all",
}
_KINDS = {
    "csv": "CSV file",
    "parquet": "Parquet file",
    "parquet-folder": "folder of Parquet files",
    "pandas": "pandas data frame",
    "polars": "polars data frame",
    "pyarrow": "pyarrow table",
    "dask": "Dask data frame",
}


def part(manifest: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Give a part of the manifest that is a mapping; an empty one where it is not."""
    found = manifest.get(key)
    return found if isinstance(found, dict) else {}


def subtitle(manifest: Mapping[str, Any], *, name: str = "", steps: Iterable[str] = ()) -> str:
    """Say in one line what this run is.

    Parameters
    ----------
    manifest : mapping
    name : str
        Of the run folder.
    steps : iterable of str
        Such as ``monthly``.

    Examples
    --------
    >>> subtitle({"config": {"h": 12}, "data": {"rows": 1200, "kind": "csv"}}, steps=["monthly"])
    '12 steps ahead, monthly; 1,200 rows of a CSV file'
    """
    config, data = part(manifest, "config"), part(manifest, "data")
    h, n_windows = config.get("h"), config.get("n_windows")
    experiment = part(manifest, "mlflow").get("experiment")
    version = part(manifest, "versions").get("daskcast")
    told = [
        f"backtest of {n_windows} windows" if n_windows else "",
        ", ".join([f"{h} steps ahead" if h else "", " and ".join(steps)]).strip(", "),
        f"{_text(data.get('rows'))} rows of a {_kind(data)}" if data.get("rows") else "",
        f"run {name}" if name else "",
        f"experiment {experiment}" if experiment else "",
        _moment(manifest.get("started")),
        f"daskcast {version}" if version else "",
    ]
    return "; ".join(filter(None, told))


def options(manifest: Mapping[str, Any]) -> Pairs:
    """Name each option and its value; one that was not given is said as what that means."""
    return [
        (name, _NOT_GIVEN.get(name, "not given") if value is None else _text(value))
        for name, value in part(manifest, "config").items()
    ]


def facts(manifest: Mapping[str, Any]) -> Pairs:
    """Tell the data, the time it took, where it is tracked, and the versions."""
    data, seconds, mlflow = (part(manifest, key) for key in ("data", "seconds", "mlflow"))
    stages = {k: v["wall"] for k, v in seconds.items() if isinstance(v, dict) and "wall" in v}
    workers = seconds.get("workers")
    columns = part(data, "columns").values()
    pairs = [
        ("data", f"{_text(data.get('rows'))} rows of a {_kind(data)}" if data.get("rows") else ""),
        ("read from", _text(data.get("path"))),
        ("columns", ", ".join(map(str, columns))),
        ("fingerprint of the data", _text(data.get("fingerprint"))),
        ("started", _moment(manifest.get("started"))),
        ("seconds until this page", _seconds(stages)),
        ("CPU seconds of the workers", _seconds(workers if isinstance(workers, dict) else {})),
        *_tracking(mlflow),
        ("versions", ", ".join(f"{k} {v}" for k, v in part(manifest, "versions").items())),
    ]
    return [(name, text) for name, text in pairs if text]


def _tracking(mlflow: Mapping[str, Any]) -> Pairs:
    if not mlflow.get("run_id"):
        return [("MLflow", "not tracked")]
    names = {"experiment": "experiment", "run_id": "run", "uri": "store", "run_url": "page"}
    return [(f"MLflow {name}", _text(mlflow.get(key))) for key, name in names.items()]


def _seconds(parts: Mapping[str, Any]) -> str:
    told = {k: f"{v:,.1f}" for k, v in parts.items() if isinstance(v, int | float)}
    return ", ".join(f"{name} {text}" for name, text in told.items() if text != "0.0")


def _kind(data: Mapping[str, Any]) -> str:
    kind = str(data.get("kind") or "table")
    return _KINDS.get(kind, kind)


def _moment(value: object) -> str:
    """Write a moment to the minute, in UTC; what is none stays away."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return ""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)
