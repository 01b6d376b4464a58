"""One HTML page that tells what became of a run.

Covers ``report.html``: cards, reasons, the best and the worst, a handful of plots, the options. The
page needs no script and no network, and stays small however many entities there are. Does not
cover who is drawn (``choose``), drawing one plot (``chart``), the words of ``run.json``
(``facts``), nor computing any of the numbers: all are read from the run folder (``store``). The
run folder keeps no history: it is read from the data, where a caller still holds it or where it is
still the same in the place it was read from; else the plots show forecasts with their intervals.
"""

from __future__ import annotations

import functools
import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd

from daskcast.config import ForecastConfig
from daskcast.errors import DaskcastError
from daskcast.features import MOST_MISSING
from daskcast.panel import open_source
from daskcast.records import Status
from daskcast.report import chart, choose, facts
from daskcast.store.files import is_local
from daskcast.store.query import blend_shares
from daskcast.store.stream import stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from daskcast.panel import Source
    from daskcast.store import RunFolder

    Floats = NDArray[np.float64]

logger = logging.getLogger(__name__)

#: What bounds the page, beside the plots: rows of each table.
N_TROUBLES, N_RANKED, N_MODELS = 100, 10, 15

_COLUMNS = [
    "unique_id", "status", "model", "n_obs", "cv_mase", "cv_smape", "naive_mase",
    "skill", "checks", "error_type", "message", "seconds", "attempt", "batch",
]  # fmt: skip


def write_report(folder: RunFolder, source: Source | None = None) -> None:
    """Write ``report.html`` into a run folder.

    Parameters
    ----------
    folder : RunFolder
        Finished or not: entities that have no row yet are counted as such.
    source : Source, optional
        The data of the run, of which the plots show the end; None looks where it was read from.
    """
    if source is None:
        source = _source_again(folder.manifest)
    entities = _accounts(folder)
    found = choose.outlook(folder, sorted(set(entities["batch"])))
    history = (
        choose.histories(source, choose.candidates(entities, found)) if source is not None else {}
    )
    shown = choose.choose(entities, found, history)
    html = render(
        folder.manifest,
        entities,
        _plots_of(folder, entities, shown, history),
        name=folder.place.rstrip("/").rpartition("/")[2],
        steps=choose.step_names(found),
    )
    folder.files.write("report.html", html.encode())


def _accounts(folder: RunFolder) -> pd.DataFrame:
    """Read what the page tells of each entity: the checks, which are long, are read and let go."""
    parts = [
        flagged(part.to_pandas()).drop(columns="checks")
        for part in stream(folder, "entities", _COLUMNS)
    ]
    entities: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return entities


def _source_again(manifest: Mapping[str, Any]) -> Source | None:
    """Open the data of a run where it was; None where it is gone, or no longer the same."""
    data = facts.part(manifest, "data")
    path = data.get("path")
    try:
        if not isinstance(path, str) or (is_local(path) and not Path(path).exists()):
            return None
        source = open_source(path, ForecastConfig.from_dict(facts.part(manifest, "config")))
    except (OSError, DaskcastError) as error:
        logger.info("no history in the report, %s cannot be read: %s", path, error)
        return None
    return source if source.fingerprint == data.get("fingerprint") else None


def render(
    manifest: Mapping[str, Any],
    entities: pd.DataFrame,
    plots: Sequence[chart.Plot],
    *,
    name: str = "",
    steps: Sequence[str] = (),
) -> str:
    """Fill the template; every value is escaped there.

    Parameters
    ----------
    manifest : mapping
        Content of ``run.json``.
    entities : DataFrame
        One row for each entity that has come to an end.
    plots : sequence of Plot
    name : str
        Of the run folder.
    steps : sequence of str
        Such as ``monthly``.

    Returns
    -------
    str
        A whole HTML document.
    """
    ranking, troubles = choose.ranking(entities), _troubles(entities)
    return _template().render(
        subtitle=facts.subtitle(manifest, name=name, steps=steps),
        summary=_summary(manifest, entities),
        reasons=_reasons(entities),
        troubles=_rows(troubles.head(N_TROUBLES)),
        n_troubles=len(troubles),
        best=_rows(entities.iloc[ranking[: min(N_RANKED, (len(ranking) + 1) // 2)]]),
        worst=_rows(entities.iloc[ranking[::-1][: min(N_RANKED, len(ranking) // 2)]]),
        models=entities["model"].replace("", None).value_counts().head(N_MODELS).items(),
        skills=_histogram(entities["skill"]),
        plots=plots,
        options=facts.options(manifest),
        about=facts.facts(manifest),
        box=chart.BOX,
        backtest=bool(facts.part(manifest, "config").get("n_windows")),
    )


@functools.cache
def _template() -> jinja2.Template:
    """Compile the template, once: that takes longer than to fill it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("daskcast"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, short=_short)
    return environment.get_template("report.html")


# ---- numbers ------------------------------------------------------------------------------------


def _summary(manifest: Mapping[str, Any], entities: pd.DataFrame) -> dict[str, Any]:
    counts = {status.value: int((entities["status"] == status).sum()) for status in Status}
    n_total = int(facts.part(manifest, "data").get("entities", len(entities)))
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
        "seconds": facts.part(manifest, "seconds").get("total"),
        "entity_ms": 1000 * _mean(entities["seconds"]),
    }


def _finite(values: pd.Series[float]) -> NDArray[np.floating[Any]]:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers[np.isfinite(numbers)]


def _mean(values: pd.Series[float]) -> float:
    finite = _finite(values)
    return float(finite.mean()) if finite.size else math.nan


def flagged(entities: pd.DataFrame) -> pd.DataFrame:
    """Give entities that are ``ok`` but deserve a look a reason and a message.

    Those that miss many of their steps, else those that have what no model follows.
    """
    digits = entities["checks"].astype("str").str.extract(r'"missing": ?(\d+)', expand=False)
    missing = pd.to_numeric(digits).to_numpy(dtype=np.float64, na_value=np.nan)
    steps = entities["n_obs"].to_numpy(dtype=np.float64) + missing
    with np.errstate(invalid="ignore"):
        many = (missing > MOST_MISSING * steps) & (entities["status"] == Status.OK).to_numpy()
    speak = (
        entities["checks"].astype("str").str.contains('"not_modelled":["', regex=False, na=False)
    )
    other = speak.to_numpy(dtype=bool) & (entities["status"] == Status.OK).to_numpy() & ~many
    told = [
        f"{lost:,.0f} of {total:,.0f} steps are missing ({100 * lost / total:.0f} %)"
        for lost, total in zip(missing[many], steps[many], strict=True)
    ]
    entities = entities.astype({"error_type": object, "message": object})
    entities.loc[many, "error_type"] = "ManyMissing"
    entities.loc[many, "message"] = told
    entities.loc[other, "error_type"] = "NotModelled"
    entities.loc[other, "message"] = [
        "; ".join(json.loads(text)["not_modelled"]) for text in entities.loc[other, "checks"]
    ]
    return entities


def _troubles(entities: pd.DataFrame) -> pd.DataFrame:
    """Give who needs attention: the failed first, then who fell back, then who was flagged."""
    named = entities["error_type"].fillna("") != ""
    trouble = entities[(entities["status"] != Status.OK) | named]
    order = trouble["status"].map({Status.FAILED: 0, Status.FALLBACK: 1, Status.OK: 2})
    keys = (trouble["unique_id"].astype(str), trouble["error_type"].astype(str), order)
    return trouble.iloc[np.lexsort(keys)]


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


def _number(value: object, digits: int = 2) -> str:
    """Write a number for people: thousands apart, a dash for nothing."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def _short(text: object, length: int = 80) -> str:
    whole = "" if text is None else str(text)
    return whole if len(whole) <= length else whole[: length - 1] + "…"


# ---- plots --------------------------------------------------------------------------------------


def _plots_of(
    folder: RunFolder,
    entities: pd.DataFrame,
    shown: Mapping[str, str],
    history: choose.History,
) -> list[chart.Plot]:
    """Read again what is needed of the few that are drawn."""
    about = entities[entities["unique_id"].isin(list(shown))]
    batches = sorted(set(about["batch"]))
    forecasts = choose.last_window(folder.read("forecasts", batches).to_pandas())
    params = folder.read("entities", batches, columns=["unique_id", "params"])
    texts = params.to_pandas()
    return plots_of(shown, about.merge(texts, on="unique_id"), forecasts, history)


def plots_of(
    shown: Mapping[str, str],
    entities: pd.DataFrame,
    forecasts: pd.DataFrame,
    history: choose.History,
) -> list[chart.Plot]:
    """Draw some entities.

    Parameters
    ----------
    shown : mapping
        Why each of them is drawn, in the order of the page.
    entities, forecasts : DataFrame
        Rows of these entities, and maybe of others; ``entities`` with ``params``.
    history : mapping

    Returns
    -------
    list of Plot
    """
    if forecasts.empty:
        return []
    wanted = list(shown)
    about = {row["unique_id"]: row for row in _rows(entities[entities["unique_id"].isin(wanted)])}
    tables = dict(tuple(forecasts[forecasts["unique_id"].isin(wanted)].groupby("unique_id")))
    return [
        chart.draw(tables[name].sort_values("ds"), history.get(name), note=_note(about[name], why))
        for name, why in shown.items()
        if name in tables
    ]


def _note(row: Mapping[str, Any], why: str) -> str:
    """Say why an entity is drawn, how it ended, and how much of the forecast its form made."""
    shares = dict(blend_shares(json.loads(row["params"]).get("forms") or ()))
    share = shares.get(row["model"])
    model = _short(row["model"]) + (f" {100 * share:.0f} %" if share is not None else "")
    scored = _number(row["skill"])
    told = [why, row["status"], model, f"skill {scored}" if scored != "-" else ""]
    return "; ".join(filter(None, told))
