"""What a container finds around it: its environment and its volumes.

Covers: plain values with ``$(NAME)``, secrets and config maps by key and as a whole, fields of
the pod. A volume (emptyDir, secret, config map) is a folder; nothing is mounted, so a mount path in
the command line or the environment is replaced by the folder, and an emptyDir at /tmp is TMPDIR.
Does not cover: mount paths that a program knows by itself, modes, sizes, updates of volumes.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from .objects import Object
from .store import Store

_REFERENCE = re.compile(r"\$(\$?)\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_SINGULAR = {"secrets": "secret", "configmaps": "configmap"}
_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """A container cannot be made, because something that it names is not there."""


def expanded(text: str, env: dict[str, str]) -> str:
    """Give `text` with ``$(NAME)`` replaced; a doubled dollar keeps it."""

    def value(found: re.Match[str]) -> str:
        return found[0][1:] if found[1] else env.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def environment(store: Store, pod: Object, container: Object) -> dict[str, str]:
    """Give the variables that the spec of a container says."""
    namespace, env = pod["metadata"]["namespace"], {}
    for source in container.get("envFrom") or []:
        resource = "secrets" if "secretRef" in source else "configmaps"
        reference = source.get("secretRef") or source["configMapRef"]
        data = _data(store, resource, namespace, reference)
        env |= {source.get("prefix", "") + name: value for name, value in data.items()}
    for entry in container.get("env") or []:
        if "valueFrom" in entry:
            value = _value(store, pod, entry["valueFrom"])
        else:
            value = expanded(str(entry.get("value") or ""), env)
        if value is not None:
            env[entry["name"]] = value
    return env


def _value(store: Store, pod: Object, source: Object) -> str | None:
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    resource = "secrets" if "secretKeyRef" in source else "configmaps"
    reference = source.get("secretKeyRef") or source["configMapKeyRef"]
    namespace, wanted = pod["metadata"]["namespace"], reference["key"]
    data = _data(store, resource, namespace, reference)
    if wanted not in data and not reference.get("optional"):
        kind = "Secret" if resource == "secrets" else "ConfigMap"
        raise ConfigError(f"couldn't find key {wanted} in {kind} {namespace}/{reference['name']}")
    return data.get(wanted)


def _data(store: Store, resource: str, namespace: str, reference: Object) -> dict[str, str]:
    found = store.find(resource, namespace, reference["name"])
    if found is None and not reference.get("optional"):
        raise ConfigError(f'{_SINGULAR[resource]} "{reference["name"]}" not found')
    data = (found or {}).get("data") or {}
    if resource == "secrets":
        return {name: base64.b64decode(text).decode() for name, text in data.items()}
    return data


def _field(pod: Object, path: str) -> str:
    if match := _FIELD.fullmatch(path):
        return (pod["metadata"].get(match[1]) or {}).get(match[2], "")
    here = pod
    for step in path.split("."):
        here = here.get(step, {})
    return str(here or "")


class Volumes:
    """The folders of the volumes of a pod."""

    def __init__(self, store: Store, pod: Object, folder: Path) -> None:
        namespace = pod["metadata"]["namespace"]
        self._folders = {
            volume["name"]: self._make(store, namespace, volume, folder / volume["name"])
            for volume in pod["spec"].get("volumes") or []
        }

    def _make(self, store: Store, namespace: str, volume: Object, path: Path) -> Path:
        files: dict[str, str] = {}
        if secret := volume.get("secret"):
            reference = secret | {"name": secret["secretName"]}
            files = _data(store, "secrets", namespace, reference)
        elif config := volume.get("configMap"):
            files = _data(store, "configmaps", namespace, config)
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name).write_text(text)
        return path

    def mounts(self, container: Object) -> dict[str, str]:
        """Give the folder of each mount path."""
        mounts = {}
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in self._folders:
                raise ConfigError(f'volume "{mount["name"]}" not found')
            folder = self._folders[mount["name"]] / mount.get("subPath", "")
            mounts[mount["mountPath"].rstrip("/")] = str(folder)
        return mounts


def relocated(text: str, mounts: dict[str, str]) -> str:
    """Give `text` with the folders of volumes where it says their mount paths."""
    if not mounts:
        return text
    paths = sorted(mounts, key=len, reverse=True)
    pattern = rf"(?<![\w./-])({'|'.join(map(re.escape, paths))})(?![\w.-])"
    return re.sub(pattern, lambda found: mounts[found[1]], text)
