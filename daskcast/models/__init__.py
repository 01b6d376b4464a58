"""Model families, by name.

Covers the registry, and what else may stand for a model. Does not cover any family itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from daskcast.errors import ConfigError
from daskcast.models.adjusted import CES, Theta
from daskcast.models.base import Family, Fitted, Rolled, Space, View, view_of
from daskcast.models.ets import ETS
from daskcast.models.naive import Drift, Naive, SeasonalNaive
from daskcast.models.own import OwnModel
from daskcast.models.sarimax import Sarimax
from daskcast.models.stl import StlEts
from daskcast.models.unobserved import UnobservedComponents

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CES",
    "ETS",
    "Drift",
    "Family",
    "Fitted",
    "Naive",
    "OwnModel",
    "Rolled",
    "Sarimax",
    "SeasonalNaive",
    "Space",
    "StlEts",
    "Theta",
    "UnobservedComponents",
    "View",
    "families",
    "family_of",
    "view_of",
]

_ALL: tuple[type[Family], ...] = (
    *(ETS, Theta, CES, SeasonalNaive, Naive, Drift),
    *(Sarimax, UnobservedComponents, StlEts),
)
_FAMILIES = {cls.name: cls for cls in _ALL}


def families(models: Sequence[object]) -> tuple[Family, ...]:
    """Look up model families, and make families of other objects.

    Parameters
    ----------
    models : sequence of str, Family or object
        Names of the package's own, ``"module:attribute"`` to import, families, and what
        :class:`OwnModel` takes.

    Raises
    ------
    ConfigError
        Where one is unknown, cannot be imported or is no model; where two have the same name; where
        a family needs the whole panel at once.

    Examples
    --------
    >>> [family.name for family in families(["ets", "naive"])]
    ['ets', 'naive']
    """
    unknown = [m for m in models if isinstance(m, str) and m not in _FAMILIES and ":" not in m]
    if unknown:
        raise ConfigError(
            f"models names {', '.join(map(repr, unknown))}; known are {', '.join(_FAMILIES)}, "
            "module:attribute of your own"
        )
    found = tuple(family_of(model) for model in models)
    names = [family.name for family in found]
    if len(set(names)) < len(names):
        twice = sorted({repr(name) for name in names if names.count(name) > 1})
        raise ConfigError(
            f"models has {', '.join(twice)} more than once; give each OwnModel a name of its own"
        )
    wide = [family.name for family in found if family.scope != "entity"]
    if wide:
        raise ConfigError(
            f"{', '.join(wide)} must see all entities at once (scope 'panel'), but each task sees "
            "one entity alone; use models with scope 'entity'"
        )
    return found


def family_of(model: Any) -> Family:
    """Give the family that a name, a text to import or an object stands for; see families."""
    if isinstance(model, Mapping):
        raise ConfigError(
            f"of the model {model.get('name') or model.get('class')} only a description was kept, "
            f"{dict(model)}: it can be read, not computed with; give the object itself in models"
        )
    if isinstance(model, str):
        if model in _FAMILIES:
            return _FAMILIES[model]()
        model = _imported(model)
    if isinstance(model, type) and not hasattr(model, "fit"):
        model = model()
    family: Any = model if isinstance(model, Family) else OwnModel(model)
    return cast("Family", family)


def _imported(text: str) -> object:
    module, _, attribute = text.partition(":")
    try:
        found: object = attrgetter(attribute)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"models names {text!r}, which cannot be imported ({error}); expected module:attribute "
            "that Python finds here and on every worker"
        ) from error
    return found
