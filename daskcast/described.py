"""What a model of the user is, in plain JSON values.

Covers the description that stands for an object in ``run.json`` and in the hash of a
configuration: where its class is, and its parameters. Does not cover making an object of it again:
a run can be read where its models cannot be imported, and go on only with the objects given again.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

_PLAIN = (str, int, float, bool, type(None))


def described(value: object) -> Any:
    """Describe an object by its class and parameters; plain values are their own description.

    Parameters are those of ``get_params``, the fields of a dataclass, or the public attributes.
    Addresses in memory and the order of hashing never go in: two processes describe alike.

    Examples
    --------
    >>> from fractions import Fraction
    >>> described({"alpha": 0.5, "kinds": ("a", None), "of": Fraction})
    {'alpha': 0.5, 'kinds': ['a', None], 'of': 'fractions:Fraction'}
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {str(name): described(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        parts = [described(part) for part in value]
        return sorted(parts, key=repr) if isinstance(value, set | frozenset) else parts
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        return place_of(value)
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        return _array(value)
    return {"class": place_of(type(value)), **described(_parameters(value))}


def place_of(thing: Any) -> str:
    """Give ``module:name`` of a class or a function."""
    return f"{thing.__module__}:{thing.__qualname__}"


def _array(value: Any) -> Any:
    """Give the number of a scalar of numpy, and the digest of an array."""
    if not value.shape:
        return value.item()
    digest = hashlib.blake2b(value.tobytes(), digest_size=8).hexdigest()
    return {"shape": list(value.shape), "dtype": str(value.dtype), "digest": digest}


def _parameters(value: Any) -> dict[str, Any]:
    if callable(getattr(value, "get_params", None)):
        found = value.get_params(deep=False)
    elif dataclasses.is_dataclass(value):
        found = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    else:
        found = getattr(value, "__dict__", {})
    return {
        name: part
        for name, part in sorted(found.items())
        if not name.startswith("_") and not name.endswith("_")  # what a fit leaves behind
    }
