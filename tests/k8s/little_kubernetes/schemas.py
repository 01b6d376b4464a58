"""Checks of objects before they are kept.

Covers: structural schemas of custom resources (prune, default, validate), names and labels.
Does not cover: schemas of built-in kinds, CEL rules, webhooks.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import jsonschema

from .objects import Object, labels
from .resources import Kind

_ALWAYS = ("apiVersion", "kind", "metadata")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class Schema:
    """The structural schema of a version of a custom resource."""

    def __init__(self, structural: Object) -> None:
        self._structural = structural
        self._validator = jsonschema.Draft7Validator(_plain(structural))

    def completed(self, obj: Object) -> Object:
        """Give `obj` without unknown fields and nulls, defaults filled in."""
        new = copy.deepcopy(obj)
        _complete(new, self._structural, is_root=True)
        return new

    def problems(self, obj: Object) -> list[str]:
        errors = sorted(self._validator.iter_errors(obj), key=lambda e: [str(p) for p in e.path])
        return [f"{'.'.join(map(str, e.path))}: Invalid value: {e.message[:200]}" for e in errors]


def _plain(schema: Any) -> Any:
    """Give JSON schema for a structural schema."""
    if isinstance(schema, list):
        return [_plain(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    new = {k: _plain(v) for k, v in schema.items() if not k.startswith("x-kubernetes")}
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        new["type"] = [schema["type"], "null"]
    return new


def _complete(value: Any, schema: Object, is_root: bool = False) -> None:
    if isinstance(value, list) and "items" in schema:
        for entry in value:
            _complete(entry, schema["items"])
    elif isinstance(value, dict):
        _complete_fields(value, schema, is_root or schema.get("x-kubernetes-embedded-resource"))


def _complete_fields(value: Object, schema: Object, is_object: bool) -> None:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") or others is True
    for name in list(value):
        if is_object and name in _ALWAYS:
            continue
        inner = known.get(name, others)
        if isinstance(inner, dict):
            if value[name] is None and not inner.get("nullable"):
                del value[name]
            else:
                _complete(value[name], inner)
        elif not keeps:
            del value[name]
    for name, inner in known.items():
        if name not in value and "default" in inner:
            value[name] = copy.deepcopy(inner["default"])


def metadata_problems(kind: Kind, obj: Object) -> list[str]:
    """Give what is wrong with the name and the labels of an object."""
    name, problems = obj["metadata"]["name"], []
    pattern = _LABEL if kind.resource == "services" else _SUBDOMAIN
    if kind.group != "rbac.authorization.k8s.io" and not pattern.fullmatch(name):
        problems.append(f'metadata.name: Invalid value: "{name}": must match {pattern.pattern}')
    if kind.kind == "CronJob" and len(name) > 52:
        problems.append("metadata.name: Invalid value: must be no more than 52 characters")
    for label, value in labels(obj).items():
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            problems.append(f'metadata.labels: Invalid value: "{value}" of {label}')
    return problems
