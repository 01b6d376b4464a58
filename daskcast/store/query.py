"""Finding one entity in a run folder, and what was logged.

Covers what ``daskcast show`` and ``daskcast logs`` tell: an entity's account from all tables,
near ids where there is no such entity, log records by entity and level. Does not cover writing,
or how it looks on a screen.
"""

from __future__ import annotations

import difflib
import json
import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from daskcast.errors import StoreError
from daskcast.logs import level_number
from daskcast.records import Failure, Scores, Status
from daskcast.store.schema import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from daskcast.store.files import Files
    from daskcast.store.folder import RunFolder
    from daskcast.store.schema import Table

logger = logging.getLogger(__name__)

_N_COMPARED = 20_000
_ID_LENGTH = 80


@dataclass(frozen=True, slots=True)
class EntityView:
    """All that a run knows of one entity.

    Parameters
    ----------
    unique_id : str
    status : Status
    model : str
        The form with the largest weight; empty where failed.
    blend : tuple of (str, float)
        Forms with their weights, the largest first; empty where nothing was blended.
    params : mapping
    n_obs : int
    scores : Scores
        Empty scores are NaN.
    checks : mapping
    stopped_by : str
    failure : Failure or None
    seconds : float
    attempt : int
    batch : str
    forecasts : tuple of mapping
        One for each step, by the columns of the table.
    trials : tuple of mapping
        One for each trial, by the columns of the table; ``params`` as a mapping.
    logs : tuple of mapping
        What was logged of it.
    """

    unique_id: str
    status: Status
    model: str
    blend: tuple[tuple[str, float], ...]
    params: Mapping[str, Any]
    n_obs: int
    scores: Scores
    checks: Mapping[str, Any]
    stopped_by: str
    failure: Failure | None
    seconds: float
    attempt: int
    batch: str
    forecasts: tuple[Mapping[str, Any], ...]
    trials: tuple[Mapping[str, Any], ...]
    logs: tuple[Mapping[str, Any], ...]


def entity_view(folder: RunFolder, unique_id: str) -> EntityView:
    """Collect one entity's account.

    Raises
    ------
    StoreError
        The run has no such entity; the message names near ids.
    """
    row = _find(folder, unique_id)
    batch, params = row["batch"], json.loads(row["params"])
    trials = [
        {**trial, "params": json.loads(trial["params"])}
        for trial in _rows(folder, "trials", batch, unique_id)
    ]
    return EntityView(
        unique_id=unique_id,
        status=Status(row["status"]),
        model=row["model"] or "",
        blend=blend_shares(params.get("forms") or trials),
        params=params,
        n_obs=row["n_obs"],
        scores=Scores(row["n_windows"], *[_number(row[name]) for name in SCORES]),
        checks=json.loads(row["checks"]),
        stopped_by=row["stopped_by"] or "",
        failure=_failure(row),
        seconds=_number(row["seconds"]),
        attempt=row["attempt"],
        batch=batch,
        forecasts=tuple(_rows(folder, "forecasts", batch, unique_id)),
        trials=tuple(trials),
        logs=tuple(folder.read_logs(entity=unique_id)),
    )


def _find(folder: RunFolder, unique_id: str) -> dict[str, Any]:
    """Give the entity's row."""
    ids = folder.read("entities", columns=["unique_id", "batch"])
    found = ids.filter(pc.equal(ids["unique_id"], unique_id)).to_pylist()
    if not found:
        raise StoreError(_no_such(folder.place, unique_id, ids["unique_id"].to_pylist()))
    return _rows(folder, "entities", found[-1]["batch"], unique_id)[-1]


def _rows(folder: RunFolder, table: Table, batch: str, unique_id: str) -> list[dict[str, Any]]:
    part = folder.read(table, [batch])
    rows: list[dict[str, Any]] = part.filter(pc.equal(part["unique_id"], unique_id)).to_pylist()
    return rows


def _failure(row: Mapping[str, Any]) -> Failure | None:
    if row["error_type"] is None:
        return None
    return Failure(row["error_type"], row["message"] or "", row["traceback"] or "")


def blend_shares(parts: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    """Add up the weights by form, of the parts of a blend or of trials; a form may stand twice.

    Examples
    --------
    >>> blend_shares([{"form": "A", "weight": 0.25}, {"form": "B", "weight": 0.5},
    ...               {"form": "A", "weight": 0.25}])
    (('A', 0.5), ('B', 0.5))
    """
    weights: dict[str, float] = {}
    for part in parts:
        if part["weight"]:
            form = part.get("form") or part.get("model") or ""
            weights[form] = weights.get(form, 0.0) + part["weight"]
    return tuple(sorted(weights.items(), key=lambda item: (-item[1], item[0])))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


# -- near ids ----------------------------------------------------------------------------------


def _no_such(place: str, unique_id: str, ids: Sequence[str]) -> str:
    text = f"the run at {place} has no entity {_shown(unique_id)}"
    near = near_ids(unique_id, ids)
    if near:
        return f"{text}; near it are {', '.join(map(_shown, near))}"
    return f"{text}; it has {len(ids)} entities"


def _shown(unique_id: str) -> str:
    cut = f" ({len(unique_id)} characters)" if len(unique_id) > _ID_LENGTH else ""
    return repr(unique_id[:_ID_LENGTH]) + cut


def near_ids(unique_id: str, ids: Sequence[str], n: int = 5) -> list[str]:
    """Give ids that someone may have meant: other case or spaces first, then similar ones.

    Examples
    --------
    >>> near_ids("jfk", ["JFK", "LGA", "JFX"])
    ['JFK']
    >>> near_ids("JFKK", ["JFK", "LGA"])
    ['JFK']
    """
    key = _folded(unique_id)
    same = list(islice((x for x in ids if _folded(x) == key), n))
    if same:
        return same
    heads: dict[str, str] = {}
    for other in islice(ids, _N_COMPARED):  # the comparison costs: bounded in number and length
        heads.setdefault(_folded(other[: 2 * _ID_LENGTH])[:_ID_LENGTH], other)
    return [heads[head] for head in difflib.get_close_matches(key[:_ID_LENGTH], list(heads), n)]


def _folded(text: str) -> str:
    return text.strip().casefold()


# -- logs --------------------------------------------------------------------------------------


def read_logs(
    files: Files, entity: str | None = None, level: str | None = None
) -> Iterator[dict[str, Any]]:
    """Read log records by entity and level; see :meth:`RunFolder.read_logs`."""
    lowest = level_number(level) if level is not None else 0
    return _in_order(files, entity, lowest)


def _in_order(files: Files, entity: str | None, lowest: int) -> Iterator[dict[str, Any]]:
    """Give matching records by time: processes wrote side by side, each into files of its own.

    Times are ISO-8601 in UTC and of one width, so that they sort as text; those of one instant
    stay as they were written.
    """
    yield from sorted(_matching(files, entity, lowest), key=lambda record: str(record.get("time")))


def _matching(files: Files, entity: str | None, lowest: int) -> Iterator[dict[str, Any]]:
    wanted = None if entity is None else json.dumps(entity).encode()
    for name in files.names("logs"):
        if not name.endswith(".jsonl") or name.startswith("."):
            continue
        for line in files.read(f"logs/{name}").splitlines():
            if wanted is not None and wanted not in line:
                continue
            record = _parsed(line, name)
            if record is None or (entity is not None and record.get("entity") != entity):
                continue
            if level_number(record["level"]) >= lowest:
                yield record


def _parsed(line: bytes, name: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        level_number(record["level"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        logger.warning("a line of logs/%s is damaged and left out", name)
        return None
    return dict(record)
