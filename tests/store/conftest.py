"""Places for run folders: the local disk and an object store in memory."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from store_samples import MANIFEST

from daskcast.store import RunFolder


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a place for a run folder, for each kind of place."""
    return str(tmp_path / "run") if request.param == "local" else f"memory://runs/{uuid4().hex}"


@pytest.fixture
def folder(place: str) -> RunFolder:
    """Give an empty run folder, for each kind of place."""
    return RunFolder.create(place, MANIFEST)


@pytest.fixture
def local(tmp_path: Path) -> RunFolder:
    """Give an empty run folder on the local disk."""
    return RunFolder.create(str(tmp_path / "run"), MANIFEST)
