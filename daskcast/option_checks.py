"""Checks of options: each gives a list of problems, empty where there is none.

Covers what any class of options may need: numbers, choices, types. Does not cover which options
there are (``config``).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import DataclassInstance


def is_number(value: object) -> bool:
    """Tell whether it is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: object) -> bool:
    """Tell whether it is a list or a tuple."""
    return isinstance(value, list | tuple)


def one_of(options: DataclassInstance, name: str, allowed: Sequence[str]) -> list[str]:
    """Check that the value is one of those allowed."""
    value = getattr(options, name)
    return (
        [] if value in allowed else [f"{name} must be one of {', '.join(allowed)}; found {value!r}"]
    )


def typed(options: DataclassInstance, kind: type, called: str, *names: str) -> list[str]:
    """Check that the values are of a type, which is called so."""
    return [
        f"{name} must be {called}, found {value!r}"
        for name, value in _given(options, names)
        if not isinstance(value, kind)
    ]


def at_least(options: DataclassInstance, low: int, *names: str) -> list[str]:
    """Check that the values are whole numbers of at least so many."""
    return [
        f"{name} must be a whole number of at least {low}, found {value!r}"
        for name, value in _given(options, names)
        if not (isinstance(value, int) and is_number(value) and value >= low)
    ]


def at_most(options: DataclassInstance, high: int, *names: str) -> list[str]:
    """Refuse a slip of the keyboard before it fills memory: arrays of this length are made."""
    return [
        f"{name} must be at most {high:,}, found {value:,}"
        for name, value in _given(options, names)
        if isinstance(value, int) and value > high
    ]


def seconds(options: DataclassInstance, name: str) -> list[str]:
    """Check that the value is a time above 0, or None."""
    value = getattr(options, name)
    if value is None or (is_number(value) and 0 < value < math.inf):
        return []
    return [f"{name} must be a number above 0, found {value!r}"]


def _given(options: DataclassInstance, names: Sequence[str]) -> list[tuple[str, Any]]:
    """List names and values, without those that are None and may be."""
    optional = {f.name for f in dataclasses.fields(options) if f.default is None}
    values = [(name, getattr(options, name)) for name in names]
    return [(name, v) for name, v in values if v is not None or name not in optional]
