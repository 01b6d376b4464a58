"""Opening the tracking store that the options of a run name.

Covers :func:`open_tracker`, which refuses what cannot work before any work is done. Does not
cover the connection itself: that is made when the parent run starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daskcast.errors import ConfigError
from daskcast.tracking.limits import MAX_NAME
from daskcast.tracking.parent import tag_problems
from daskcast.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from daskcast.config import RunOptions
    from daskcast.tracking.base import Tracker


def open_tracker(options: RunOptions) -> Tracker | None:
    """Give the tracker that the options name, not yet connected.

    Call it in the thread of the user's code: inside an active MLflow run, the run is tracked
    below that one.

    Parameters
    ----------
    options : RunOptions

    Returns
    -------
    Tracker or None
        None where tracking is off.

    Raises
    ------
    ConfigError
        Names what is wrong with the address, the experiment and the tags.
    """
    if not options.tracking:
        return None
    problems = [*tag_problems(options.tags), *_experiment_problems(options.experiment)]
    try:
        uri = resolve_uri(options.tracking_uri)
    except ConfigError as error:
        raise ConfigError(*error.problems, *problems) from error
    if problems:
        raise ConfigError(*problems)
    from daskcast.tracking.mlflow_client import MlflowTracker  # noqa: PLC0415  # heavy

    return MlflowTracker(uri, options.experiment, bulk=options.tracking_bulk)


def _experiment_problems(name: str) -> list[str]:
    if name.strip() and len(name) <= MAX_NAME:
        return []
    return [f"the name of the experiment must have 1 to {MAX_NAME} characters, found {name[:40]!r}"]
