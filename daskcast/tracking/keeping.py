"""Artifacts of the parent run: keeping them, and whether that can be.

Covers :func:`keep` and :func:`warn_where_impossible`. Does not cover which files they are
(``artifacts``).
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from daskcast.errors import TrackingError
from daskcast.tracking.courtesy import translated
from daskcast.tracking.uris import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daskcast.tracking.base import Artifact
    from daskcast.tracking.place import Place

logger = logging.getLogger(__name__)


def warn_where_impossible(place: Place) -> None:
    """Say at the start of a run that its artifacts cannot be kept, not at its end.

    Parameters
    ----------
    place : Place
    """
    try:
        with translated(place.uri, "they cannot be listed"):
            where = str(place.client.get_run(place.parent_id).info.artifact_uri)
            if is_local_uri(where, is_tracking_or_registry_uri=False):
                _check_folder(Path(local_file_uri_to_path(where)))
            else:
                # Asks for the package of such a store, its credentials, and an answer.
                place.client.list_artifacts(place.parent_id)
    except TrackingError as error:
        logger.warning(
            "the artifacts of this run cannot be kept in MLflow: %s. Its runs and scores are "
            "tracked all the same, and all files are in the run folder.",
            error,
        )


def _check_folder(folder: Path) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise TrackingError(f"the experiment keeps them in {folder}, and {there} takes no files")


def keep(place: Place, artifacts: Iterable[Artifact]) -> str:
    """Keep artifacts with the parent run, until one cannot be kept.

    Parameters
    ----------
    place : Place
    artifacts : iterable of Artifact

    Returns
    -------
    str
        What the trouble was; empty where all are kept.
    """
    doing = f"cannot keep the artifacts of the run at {redact(place.uri)}"
    try:
        with translated(place.uri, doing):
            for artifact in artifacts:
                place.client.log_artifact(
                    place.parent_id, str(artifact.path), artifact.folder or None
                )
    except TrackingError as error:
        return str(error)
    return ""
