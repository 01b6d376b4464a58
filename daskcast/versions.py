"""Versions of what decides a forecast, here and on the other side of a cluster.

Covers naming and comparing them. Does not cover asking a cluster for its own (``cluster``).
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXACT = ("daskcast", "dask", "distributed")
"""Must be equal to the last digit on both sides."""

CLOSE = ("python", "numpy", "pandas", "numba", "pyarrow", "scikit-optimize")
"""Must be equal in the first two numbers: results or pickles differ otherwise."""


def mismatches(versions: Mapping[str, Any]) -> list[str]:
    """Compare what ``Client.get_versions`` found on the client, the scheduler and the workers.

    Parameters
    ----------
    versions : mapping
        ``client``, ``scheduler`` and ``workers`` (by address), each with ``packages``.

    Returns
    -------
    list of str
        A table, one text of several lines for all packages that do not fit; empty where all fit.

    Examples
    --------
    >>> side = {"packages": {"python": "3.11.7.final.0", "dask": "2026.8.0"}}
    >>> mismatches({"client": side, "scheduler": side, "workers": {"tcp://a:1": side}})
    []
    """
    here = _packages(versions["client"])
    sides = {"scheduler": _packages(versions["scheduler"])}
    sides |= {f"worker {at}": _packages(side) for at, side in versions["workers"].items()}
    rows = [
        (package, here.get(package), side, found.get(package))
        for package in (*EXACT, *CLOSE)
        for side, found in sides.items()
        if _significant(package, here.get(package)) != _significant(package, found.get(package))
        and not (side == "scheduler" and package in CLOSE[1:])
    ]
    return _table(rows)


def _packages(side: Mapping[str, Any] | None) -> Mapping[str, str | None]:
    return (side or {}).get("packages") or {}


def _significant(package: str, version: str | None) -> str | None:
    if version is None or package in EXACT:
        return version
    return ".".join(version.split(".")[:2])


def _table(rows: Sequence[tuple[str, str | None, str, str | None]]) -> list[str]:
    if not rows:
        return []
    cells = [("package", "here", "there", "at")]
    cells += [(p, str(a or "missing"), str(b or "missing"), side) for p, a, side, b in rows[:20]]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True))
        for row in cells
    ]
    more = [f"... and {len(rows) - 20} more"] if len(rows) > 20 else []  # noqa: PLR2004
    head = "the cluster runs other versions; install the same on both sides:"
    return ["\n    ".join([head, *lines, *more])]


def other_versions(before: Mapping[str, str]) -> list[str]:
    """Say what is of another version here than it was before, as :func:`own_versions` told it."""
    now = own_versions()
    return [
        f"{name} {before.get(name)}, now {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def own_versions() -> dict[str, str]:
    """Give the versions of what decides a forecast here, for the manifest."""
    names = [*EXACT, *CLOSE[1:], "mlflow"]
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
