"""Label and field selectors.

Covers: equality and set-based label selectors as text, terms of ``matchExpressions``, field
selectors on any path.
Does not cover: the real server's refusal of fields that it does not index.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .objects import Object, labels

_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")


def selection(label_selector: str, field_selector: str) -> Callable[[Object], bool]:
    """Give a test of objects for the two texts of a request."""
    label_terms = [t.strip() for t in re.split(r",(?![^(]*\))", label_selector) if t.strip()]
    field_terms = [t for t in field_selector.split(",") if t]

    def selects(obj: Object) -> bool:
        found = labels(obj)
        return all(_label_term(term, found) for term in label_terms) and all(
            _field_term(term, obj) for term in field_terms
        )

    return selects


def _label_term(term: str, found: dict[str, str]) -> bool:
    if match := _SET.fullmatch(term):
        values = [value.strip() for value in match[3].split(",")]
        return (found.get(match[1]) in values) == (match[2] == "in")
    if "=" in term:
        return _equal(term, found.get)
    return term[1:] not in found if term.startswith("!") else term in found


def _field_term(term: str, obj: Object) -> bool:
    def value(path: str) -> str:
        here: Any = obj
        for step in path.split("."):
            here = here.get(step) if isinstance(here, dict) else None
        if isinstance(here, bool):
            return str(here).lower()
        return "" if here is None else str(here)

    return _equal(term, value)


def _equal(term: str, get: Callable[[str], str | None]) -> bool:
    name, operator, value = re.split(r"(!=|==|=)", term, maxsplit=1)
    return (get(name.strip()) == value.strip()) == (operator != "!=")


def expression(term: Object, found: dict[str, str]) -> bool:
    """Test labels against one of ``matchExpressions``."""
    value, operator = found.get(term["key"]), term["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    if operator in ("In", "NotIn"):
        return (value in term["values"]) == (operator == "In")
    raise ValueError(f"operator {operator!r} is not emulated")
