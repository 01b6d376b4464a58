"""The manifest of a run, ``run.json``.

Covers its text, its checks, and telling in words how a run that is to go on differs from the one
in the folder. Does not cover where it is kept (``folder``).

Keys: ``format``, and what the pipeline gives: ``config``, ``data``, ``versions``, ``counts``,
``seconds``, ``mlflow``. No credential gets in: user names, passwords and secret query values of
URIs are removed from every text.
"""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING, Any

from daskcast.errors import StoreError
from daskcast.redact import redact_uri, redacted
from daskcast.store.files import files_at
from daskcast.store.layout import MANIFEST
from daskcast.store.marker import FORMAT
from daskcast.store.schema import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.store.schema import TimeKind

_ABSENT = object()


def to_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Write a manifest as JSON text without credentials; what is no finite number is null."""
    plain = redacted(json.loads(to_json(dict(manifest))))
    return (json.dumps({"format": FORMAT, **plain, **{"format": FORMAT}}, indent=2) + "\n").encode()


def from_bytes(data: bytes, place: str) -> dict[str, Any]:
    """Read a manifest.

    Parameters
    ----------
    data : bytes
    place : str
        The run folder, for messages.

    Raises
    ------
    StoreError
        Where it is damaged, or of a format that this version does not know.
    """
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{MANIFEST} of the run folder {place} is damaged ({error}); start a new run"
        ) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT or not isinstance(manifest, dict):
        raise StoreError(
            f"{MANIFEST} of the run folder {place} has format {found!r}; this version of daskcast "
            f"reads format {FORMAT}: use the version of daskcast that wrote it"
        )
    return manifest


def read(url: str) -> dict[str, Any]:
    """Read the manifest of a folder; StoreError where there is none or it is damaged."""
    place = redact_uri(url)
    try:
        files = files_at(url)
        files.knock()
        data = files.read(MANIFEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"there is no run at {place}: {MANIFEST} is not there; give the folder of a run"
        ) from error
    except OSError as error:
        raise StoreError(f"cannot read the run folder {place}: {error}") from error
    return from_bytes(data, place)


def levels_of(manifest: Mapping[str, Any]) -> tuple[float, ...]:
    """Give the interval levels of a run.

    Raises
    ------
    StoreError
        Where the manifest names none.
    """
    levels = (manifest.get("config") or {}).get("level")
    if not levels:
        raise StoreError(f"the manifest of the run names no levels under config, found {levels!r}")
    return tuple(levels)


def times_of(manifest: Mapping[str, Any]) -> TimeKind | None:
    """Give the kind of the run's times, where the manifest names it (``data.times``)."""
    found = (manifest.get("data") or {}).get("times")
    return found if found in ("timestamp", "integer") else None


def columns_of(manifest: Mapping[str, Any]) -> tuple[tuple[float, ...], TimeKind | None, bool]:
    """Give what decides the columns: levels, kind of times, whether what came stands beside."""
    config = manifest.get("config") or {}
    return levels_of(manifest), times_of(manifest), bool(config.get("n_windows"))


# -- the same run? -----------------------------------------------------------------------------


def check_same(
    manifest: Mapping[str, Any], config: Mapping[str, Any], data: Mapping[str, Any]
) -> list[str]:
    """Tell how a run to go on differs from the one in the folder.

    Parameters
    ----------
    manifest : mapping
        Of the folder.
    config : mapping
        Options of now, as of ``ForecastConfig.to_dict``.
    data : mapping
        The data of now: ``fingerprint``, ``rows``, ``entities``.

    Returns
    -------
    list of str
        One sentence for each difference; empty where they are the same.

    Examples
    --------
    >>> old = {"config": {"h": 12, "seed": 0}, "data": {"fingerprint": "ab", "rows": 9}}
    >>> check_same(old, {"h": 6, "seed": 0}, {"fingerprint": "ab", "rows": 9})
    ['option h: the run has 12, now it is 6']
    """
    old, new = _plain(manifest.get("config") or {}), _plain(config)
    told = [
        f"option {name}: the run has {_word(old, name)}, now it is {_word(new, name)}"
        for name in sorted({*old, *new})
        if old.get(name, _ABSENT) != new.get(name, _ABSENT)
    ]
    return told + _check_data(_plain(manifest.get("data") or {}), _plain(data))


def _check_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = [n for n in ("rows", "entities") if old.get(n, _ABSENT) != new.get(n, _ABSENT)]
    if old.get("fingerprint") == new.get("fingerprint") and not names:
        return []
    told = [f"{name} were {_word(old, name)}, now {_word(new, name)}" for name in names]
    told = told or ["as many rows and entities, but other values"]
    return [
        f"the data changed: {', '.join(told)} (fingerprint {_word(old, 'fingerprint')}, "
        f"now {_word(new, 'fingerprint')})"
    ]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON would give it back, so that tuples and lists compare equal."""
    plain: dict[str, Any] = json.loads(to_json(dict(values)))
    return plain


def _word(values: Mapping[str, Any], name: str) -> str:
    return reprlib.repr(values[name]) if name in values else "not set"
