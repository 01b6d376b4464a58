"""Changes of objects by patches.

Covers: merge patch (RFC 7386), JSON patch (RFC 6902).
Does not cover: strategic merge patch and apply, which are refused.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch

from .errors import ApiError
from .objects import Object

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"


def patched(obj: Object, patch: Any, content_type: str) -> Object:
    """Give `obj` with `patch` on it; `obj` itself stays."""
    if content_type == MERGE:
        return _merged(obj, patch)
    if content_type != JSON:
        raise ApiError(415, "UnsupportedMediaType", f"{content_type} is not emulated")
    try:
        return jsonpatch.apply_patch(obj, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as err:
        message = f"the server rejected our request due to an error in our request: {err}"
        raise ApiError(422, "Invalid", message) from err


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = _merged(new.get(name), value)
    return new
