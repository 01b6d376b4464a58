"""Files of the run folder that the parent run keeps a copy of.

Covers which they are, and fetching those that are not local. Does not cover sending them
(``writer``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec.core
from fsspec.implementations.local import LocalFileSystem

from daskcast.tracking.base import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

ARTIFACTS = ("run.json", "entities", "forecasts", "trials", "report.html", "logs")


def artifacts(url: str) -> Iterator[Artifact]:
    """Give the files of a run folder that are kept with the parent run, one after another.

    Parameters
    ----------
    url : str
        A path or an fsspec URL. Files that are not local are fetched one at a time, and removed
        when the next is asked for.
    """
    fs, root = fsspec.core.url_to_fs(url)
    for name in ARTIFACTS:
        for found in sorted(fs.find(f"{root}/{name}")):
            folder = "" if found.endswith(f"{root}/{name}") else name
            if isinstance(fs, LocalFileSystem):
                yield Artifact(Path(found), folder)
            else:
                with tempfile.TemporaryDirectory(prefix="daskcast-") as place:
                    local = Path(place) / Path(found).name
                    fs.get_file(found, str(local))
                    yield Artifact(local, folder)
