"""One HTML page that tells what became of a run.

Covers ``report.html``: cards, reasons, the best and the worst, a handful of plots, the options. The
page needs no script and no network, and stays small however many entities there are. Does not
cover drawing one plot (``chart``), nor computing any of the numbers: all are read from the run
folder (``store``). The run folder
keeps no history, so the plots of ``daskcast report RUN`` show forecasts with their intervals; a
caller that still holds the data passes ``source`` and gets both.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd

from daskcast.records import Status
from daskcast.report import chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from daskcast.panel import Source
    from daskcast.store import RunFolder

    Floats = NDArray[np.float64]

#: What bounds the page: rows of a table, plots, points of history in a plot.
N_TROUBLES, N_RANKED, N_MODELS, N_PLOTS, N_HISTORY = 100, 10, 15, 12, 144

_COLUMNS = [
    "unique_id", "status", "model", "n_obs", "n_windows", "cv_mase", "cv_smape", "naive_mase",
    "skill", "stopped_by", "error_type", "message", "seconds", "attempt", "batch",
]  # fmt: skip


def write_report(folder: RunFolder, source: Source | None = None) -> None:
    """Write ``report.html`` into a run folder.

    Parameters
    ----------
    folder : RunFolder
        Finished or not: entities that have no row yet are counted as such.
    source : Source, optional
        The data of the run; where given, the plots show the end of the history too.
    """
    entities = folder.read("entities", columns=_COLUMNS).to_pandas()
    entities = entities.sort_values("attempt", kind="stable")
    entities = entities.drop_duplicates("unique_id", keep="last")
    shown = _to_plot(entities)
    batches = sorted(set(entities.loc[entities["unique_id"].isin(shown), "batch"]))
    forecasts = folder.read("forecasts", batches).to_pandas()
    history = _history(source, shown) if source is not None else {}
    html = render(folder.manifest, entities, _plots(shown, entities, forecasts, history))
    folder.files.write("report.html", html.encode())


def render(manifest: Mapping[str, Any], entities: pd.DataFrame, plots: Sequence[chart.Plot]) -> str:
    """Fill the template; every value is escaped there.

    Parameters
    ----------
    manifest : mapping
        Content of ``run.json``.
    entities : DataFrame
        One row for each entity that has come to an end.
    plots : sequence of Plot

    Returns
    -------
    str
        A whole HTML document.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("daskcast"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, short=_short)
    ranked, troubles = _ranked(entities), _troubles(entities)
    return environment.get_template("report.html").render(
        h=_part(manifest, "config").get("h"),
        version=_part(manifest, "versions").get("daskcast", ""),
        summary=_summary(manifest, entities),
        reasons=_reasons(entities),
        troubles=_rows(troubles.head(N_TROUBLES)),
        n_troubles=len(troubles),
        best=_rows(ranked.head(min(N_RANKED, (len(ranked) + 1) // 2))),
        worst=_rows(ranked.iloc[::-1].head(min(N_RANKED, len(ranked) // 2))),
        models=entities["model"].replace("", None).value_counts().head(N_MODELS).items(),
        skills=_histogram(entities["skill"]),
        plots=plots,
        options=_flat(_part(manifest, "config")),
        about=_flat({k: _part(manifest, k) for k in ("data", "versions", "seconds", "mlflow")}),
        box=chart.BOX,
    )


# ---- numbers ------------------------------------------------------------------------------------


def _summary(manifest: Mapping[str, Any], entities: pd.DataFrame) -> dict[str, Any]:
    counts = {status.value: int((entities["status"] == status).sum()) for status in Status}
    n_total = int(_part(manifest, "data").get("entities", len(entities)))
    skill = _finite(entities["skill"])
    return {
        **counts,
        "n_total": n_total,
        "waiting": max(n_total - len(entities), 0),
        "mase": _mean(entities["cv_mase"]),
        "naive_mase": _mean(entities["naive_mase"]),
        "smape": _mean(entities["cv_smape"]),
        "n_scored": int(_finite(entities["cv_mase"]).size),
        "n_skilled": int((skill > 0).sum()),
        "n_skill": int(skill.size),
        "skill": float(np.median(skill)) if skill.size else math.nan,
        "seconds": _part(manifest, "seconds").get("total"),
        "entity_ms": 1000 * _mean(entities["seconds"]),
    }


def _part(manifest: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = manifest.get(key)
    return part if isinstance(part, dict) else {}


def _finite(values: pd.Series[float]) -> NDArray[np.floating[Any]]:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers[np.isfinite(numbers)]


def _mean(values: pd.Series[float]) -> float:
    finite = _finite(values)
    return float(finite.mean()) if finite.size else math.nan


def _troubles(entities: pd.DataFrame) -> pd.DataFrame:
    trouble = entities[entities["status"] != Status.OK]
    keys = (trouble["unique_id"], trouble["error_type"], trouble["status"] != Status.FAILED)
    return trouble.iloc[np.lexsort(tuple(key.astype(str) for key in keys))]


def _ranked(entities: pd.DataFrame) -> pd.DataFrame:
    scored = entities[np.isfinite(entities["skill"].to_numpy(dtype=np.float64, na_value=np.nan))]
    ranked: pd.DataFrame = scored.sort_values(["skill", "unique_id"], ascending=[False, True])
    return ranked


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _reasons(entities: pd.DataFrame) -> list[tuple[int, dict[str, Any]]]:
    """Count the kinds of trouble, the most frequent first, with one example each."""
    trouble = _troubles(entities).fillna({"error_type": ""})
    counts = trouble.groupby(["status", "error_type"], sort=False)["unique_id"].transform("size")
    first = trouble.assign(count=counts).drop_duplicates(["status", "error_type"])
    first = first.sort_values("count", ascending=False, kind="stable").head(N_MODELS)
    return [(int(row["count"]), row) for row in _rows(first)]


def _histogram(skill: pd.Series[float]) -> list[dict[str, Any]]:
    """Count entities by skill, from -1 (and below) to 1, in steps of 0.1."""
    finite = np.clip(_finite(skill), -0.999, 0.999)
    counts, edges = np.histogram(finite, bins=20, range=(-1, 1))
    peak = max(int(counts.max()), 1)
    return [
        {"low": float(edges[i]), "high": float(edges[i + 1]), "n": int(n), "share": float(n / peak)}
        for i, n in enumerate(counts)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            rows.append((f"{prefix}{key}", text))
    return rows


def _number(value: object, digits: int = 2) -> str:
    """Write a number for people: thousands apart, a dash for nothing."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def _short(text: object, length: int = 80) -> str:
    whole = "" if text is None else str(text)
    return whole if len(whole) <= length else whole[: length - 1] + "…"


# ---- plots --------------------------------------------------------------------------------------


def _to_plot(entities: pd.DataFrame) -> list[str]:
    """Choose who is drawn: the best, the middle and the worst by skill, then what has no score."""
    ranked = _ranked(entities)["unique_id"].tolist()
    third = N_PLOTS // 4
    middle = max(len(ranked) // 2 - third // 2, 0)
    unscored = entities[(entities["status"] != Status.FAILED)]["unique_id"]
    rest = [i for i in unscored if i not in set(ranked)]
    chosen = [
        *ranked[:third], *ranked[middle : middle + third], *ranked[-third:], *rest[:third], *ranked,
    ]  # fmt: skip
    return list(dict.fromkeys(chosen))[:N_PLOTS]


def _history(source: Source, shown: Sequence[str]) -> dict[str, tuple[NDArray[Any], Floats]]:
    wanted = set(shown)
    positions = np.array([i for i, name in enumerate(source.ids) if name in wanted], dtype=np.int64)
    if not positions.size:
        return {}
    rows = source.select(positions).load()
    values = rows.values  # noqa: PD011  # an array of our own
    return {
        name: (rows.times[low:high][-N_HISTORY:], values[low:high][-N_HISTORY:])
        for name, low, high in zip(rows.ids, rows.offsets[:-1], rows.offsets[1:], strict=True)
    }


def _plots(
    shown: Sequence[str],
    entities: pd.DataFrame,
    forecasts: pd.DataFrame,
    history: Mapping[str, tuple[NDArray[Any], Floats]],
) -> list[chart.Plot]:
    if forecasts.empty:
        return []
    about = {row["unique_id"]: row for row in _rows(entities[entities["unique_id"].isin(shown)])}
    tables = dict(tuple(forecasts[forecasts["unique_id"].isin(shown)].groupby("unique_id")))
    return [
        chart.draw(tables[name].sort_values("ds"), history.get(name), note=_note(about[name]))
        for name in shown
        if name in tables
    ]


def _note(row: Mapping[str, Any]) -> str:
    scored = _number(row["skill"])
    return f"{row['status']}, {_short(row['model'])}" + (
        f", skill {scored}" if scored != "-" else ""
    )
