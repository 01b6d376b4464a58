"""Changes of objects by patches.

Covers: merge patch (RFC 7386), JSON patch (RFC 6902), strategic merge patch and apply in the
simplest way: lists of named entries are merged by name.
Does not cover: ``$patch`` directives, field managers and their conflicts.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch

from .errors import ApiError
from .objects import Object

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json-patch+json"

_KEYS = ("name", "uid", "type")


def patched(obj: Object, patch: Any, content_type: str) -> Object:
    """Give `obj` with `patch` on it; `obj` itself stays."""
    if content_type == JSON:
        try:
            return jsonpatch.apply_patch(obj, patch)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as err:
            message = f"the server rejected our request due to an error in our request: {err}"
            raise ApiError(422, "Invalid", message) from err
    return _merged(obj, patch, content_type in (STRATEGIC, APPLY))


def _merged(old: Any, patch: Any, by_name: bool) -> Any:
    if by_name and isinstance(old, list) and isinstance(patch, list):
        return _merged_list(old, patch)
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = _merged(new.get(name), value, by_name)
    return new


def _merged_list(old: list[Any], patch: list[Any]) -> list[Any]:
    entries = [*old, *patch]
    for key in _KEYS:
        if entries and all(isinstance(entry, dict) and key in entry for entry in entries):
            found = {entry[key]: entry for entry in old}
            new = {e[key]: _merged(found.get(e[key], {}), e, by_name=True) for e in patch}
            return list((found | new).values())
    return copy.deepcopy(patch)
