"""Model families, by name.

Covers the registry. Does not cover any family itself (``ets``, ``naive``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daskcast.errors import ConfigError
from daskcast.models.base import Family, Fitted, Rolled, Space, View, view_of
from daskcast.models.ets import ETS
from daskcast.models.naive import Drift, Naive, SeasonalNaive
from daskcast.models.sarimax import Sarimax
from daskcast.models.stl import StlEts
from daskcast.models.unobserved import UnobservedComponents

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ETS",
    "Drift",
    "Family",
    "Fitted",
    "Naive",
    "Rolled",
    "Sarimax",
    "SeasonalNaive",
    "Space",
    "StlEts",
    "UnobservedComponents",
    "View",
    "families",
    "view_of",
]

_ALL: tuple[type[Family], ...] = (
    *(ETS, SeasonalNaive, Naive, Drift),
    *(Sarimax, UnobservedComponents, StlEts),
)
_FAMILIES = {cls.name: cls for cls in _ALL}


def families(names: Sequence[str | Family]) -> tuple[Family, ...]:
    """Look up model families.

    Parameters
    ----------
    names : sequence of str or Family

    Raises
    ------
    ConfigError
        Where a name is unknown, or a family needs the whole panel at once.

    Examples
    --------
    >>> [family.name for family in families(["ets", "naive"])]
    ['ets', 'naive']
    """
    unknown = [name for name in names if isinstance(name, str) and name not in _FAMILIES]
    if unknown:
        raise ConfigError(
            f"models names {', '.join(map(repr, unknown))}; known are {', '.join(_FAMILIES)}"
        )
    found = tuple(_FAMILIES[name]() if isinstance(name, str) else name for name in names)
    wide = [family.name for family in found if family.scope != "entity"]
    if wide:
        raise ConfigError(
            f"{', '.join(wide)} must see all entities at once (scope 'panel'), but each task sees "
            "one entity alone; use models with scope 'entity'"
        )
    return found
