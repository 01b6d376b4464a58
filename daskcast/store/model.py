"""The folder of a saved model: JSON and Parquet, nothing that is code.

Covers writing the recipes and the history of a panel so that they count whole or not at all, and
reading them back. Does not cover what is done with them (``forecaster``).

A folder holds::

    entities.parquet    one row for each entity, as in a run folder; recipes in ``params``
    history.parquet     unique_id, ds, y: what was read, and what came later
    model.json          format, options, versions, digests of the two; written last

No pickle is read, and ids are values of a column, never names of files.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from daskcast.errors import StoreError
from daskcast.redact import redact_uri
from daskcast.store.files import absolute, files_at
from daskcast.store.marker import Part, digest
from daskcast.store.schema import ENTITIES, TIME_TYPES, from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from daskcast.store.files import Files

FORMAT = 1
"""Version of the layout of a model's folder; in ``model.json``."""

MODEL = "model.json"
_PARTS = ("entities", "history")
_KEYS = {"format", "kind", "created", "versions", "options", "h", "parts", "blake2b"}


class SavedModel(NamedTuple):
    """What the folder of a model holds.

    Parameters
    ----------
    options : dict
        Of the forecaster, without ``h``.
    h : int
    entities, history : pyarrow.Table
        Both ascending by ``unique_id``, the history then by ``ds``; of the same entities.
    """

    options: dict[str, Any]
    h: int
    entities: pa.Table
    history: pa.Table


def history_schema(times: np.dtype[Any]) -> pa.Schema:
    """Give the schema of the history, by the type of its times."""
    kind = TIME_TYPES["timestamp" if times.kind == "M" else "integer"]
    return pa.schema([("unique_id", pa.string()), ("ds", kind), ("y", pa.float64())])


def save_model(
    path: str | PathLike[str],
    model: SavedModel,
    *,
    versions: Mapping[str, str],
    overwrite: bool = False,
) -> None:
    """Write a folder; ``model.json`` comes last and makes it count.

    Parameters
    ----------
    path : path or URL
    model : SavedModel
    versions : mapping
        Of the packages that decide a forecast.
    overwrite : bool
        Take the place of a model that is there. Its ``model.json`` goes first, so that a folder
        never says one thing and holds another.

    Raises
    ------
    StoreError
        Where the folder holds a model or files of these names, or cannot be written.
    """
    url = absolute(path)
    place, files = redact_uri(url), files_at(url)
    tables = {"entities": model.entities, "history": model.history}
    contents = {name: to_bytes(table) for name, table in tables.items()}
    parts = {name: Part.of(contents[name], tables[name].num_rows) for name in _PARTS}
    try:
        files.knock()
        _clear(files, place, overwrite=overwrite)
        files.make_folders(("",))
        for name, content in contents.items():
            files.write(f"{name}.parquet", content)
        files.write(MODEL, _about(model, versions, parts))
    except OSError as error:
        raise StoreError(f"cannot write the model to {place}: {error}") from error


def load_model(path: str | PathLike[str], models: Mapping[str, Any] | None = None) -> SavedModel:
    """Read a folder back.

    Parameters
    ----------
    path : path or URL
    models : mapping of str to object, optional
        Own models by name, where the model was fitted with some.

    Raises
    ------
    StoreError
        Where there is no model, or it is damaged, half-written, of another format, or needs models
        that are not given.
    """
    url = absolute(path)
    place, files = redact_uri(url), files_at(url)
    about = _read_about(files, place)
    entities, history = (_read_part(files, name, about["parts"], place) for name in _PARTS)
    if not entities.schema.equals(ENTITIES) or (
        entities["unique_id"].to_pylist() != sorted(set(history["unique_id"].to_pylist()))
    ):
        raise StoreError(_damaged(place, "its two tables do not hold the same entities"))
    options = {name: _with_own(name, v, models or {}) for name, v in about["options"].items()}
    return SavedModel(options, about["h"], entities, history)


def _read_part(files: Files, name: str, parts: Mapping[str, Any], place: str) -> pa.Table:
    file = f"{name}.parquet"
    try:
        content = files.read(file)
    except FileNotFoundError as error:
        raise StoreError(_damaged(place, f"{file} is missing")) from error
    except OSError as error:
        raise StoreError(f"cannot read the model at {place}: {error}") from error
    if not Part(**parts[name]).matches(content):
        raise StoreError(_damaged(place, f"{file} is not what was written"))
    return from_bytes(content)


# -- model.json --------------------------------------------------------------------------------


def _read_about(files: Files, place: str) -> dict[str, Any]:
    try:
        files.knock()
        content = files.read(MODEL)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"there is no model at {place}: {MODEL} is not there, or was never written; give the "
            "folder that save() wrote"
        ) from error
    except OSError as error:
        raise StoreError(f"cannot read the model at {place}: {error}") from error
    try:
        about = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreError(_damaged(place, f"{MODEL} is no JSON: {error}")) from error
    found = about.get("format") if isinstance(about, dict) else None
    if found != FORMAT:
        raise StoreError(
            f"the model at {place} has format {found!r}; this version of daskcast reads format "
            f"{FORMAT}: load it with the version that saved it"
        )
    if odd := sorted(_KEYS ^ about.keys()):
        raise StoreError(_damaged(place, f"{MODEL} lacks or does not know {', '.join(odd)}"))
    if about.pop("blake2b") != _own_digest(about):
        raise StoreError(_damaged(place, f"{MODEL} is not what was written"))
    return dict(about)


def _about(model: SavedModel, versions: Mapping[str, str], parts: Mapping[str, Part]) -> bytes:
    about = {
        "format": FORMAT,
        "kind": "daskcast model",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": dict(versions),
        "options": {name: _plain(value) for name, value in model.options.items()},
        "h": model.h,
        "parts": {name: asdict(part) for name, part in parts.items()},
    }
    return (json.dumps({**about, "blake2b": _own_digest(about)}, indent=2) + "\n").encode()


def _own_digest(about: Mapping[str, Any]) -> str:
    return digest(json.dumps(about, sort_keys=True).encode())


def _damaged(place: str, what: str) -> str:
    return f"the model at {place} is damaged or half-written: {what}; save it again"


def _clear(files: Files, place: str, *, overwrite: bool) -> None:
    names = [MODEL, *(f"{name}.parquet" for name in _PARTS)]
    used = [name for name in names if files.exists(name)]
    if used and not overwrite:
        raise StoreError(
            f"the folder {place} holds {', '.join(used)} already; give another folder, or "
            "overwrite=True"
        )
    files.remove(MODEL)


# -- options that are no JSON ------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Give an option as JSON; an own model is its name, and must be given again on loading."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return {"own": str(getattr(value, "name", type(value).__name__))}


def _with_own(option: str, value: Any, models: Mapping[str, Any]) -> Any:
    """Put own models in the places of their names.

    ``module:attribute`` is such a name, too: a folder from elsewhere must not choose what is
    imported here.
    """
    if isinstance(value, list):
        return [_with_own(option, one, models) for one in value]
    if isinstance(value, dict):
        name = str(value["own"])
    elif option == "models" and isinstance(value, str) and ":" in value:
        name = value
    else:
        return value
    if name not in models:
        raise StoreError(
            f"the model was fitted with {option} {name!r} of your own, which is not saved with it; "
            f"give it: load(path, models={{{name!r}: ...}})"
        )
    return models[name]
