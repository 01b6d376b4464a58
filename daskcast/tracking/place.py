"""Where child runs go, and what a way to get them there is.

Covers :class:`Place` and the protocol :class:`Way`. The ways are ``database`` and ``rest``; which
one is taken is decided in ``choice``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mlflow.utils.mlflow_tags import MLFLOW_USER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient

    from daskcast.tracking.base import ChildRun, Delivery
    from daskcast.tracking.calls import Calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An open parent run in MLflow.

    Parameters
    ----------
    client : MlflowClient
    uri : str
    experiment_id, parent_id : str
    start_ms : int
        Start of the parent run, in milliseconds since the epoch.
    calls : Calls
    context : mapping of str to str
        Tags of every run, as MLflow's own fluent calls set them: user, source, git commit.
    """

    client: MlflowClient
    uri: str
    experiment_id: str
    parent_id: str
    start_ms: int
    calls: Calls
    context: Mapping[str, str]

    @property
    def store(self) -> Any:
        """The store behind the client."""
        return self.client._tracking_client.store

    @property
    def user(self) -> str:
        """Who the runs are of."""
        return self.context.get(MLFLOW_USER, "unknown")


class Way(Protocol):
    """A way to get child runs into MLflow.

    Attributes
    ----------
    name : str
    n_at_once : int
        Children that are best handed over at a time.
    requests_per_run : float
        About how many requests one run takes.
    """

    name: str
    n_at_once: int
    requests_per_run: float

    def look(self) -> set[str]:
        """Learn which children are there, and give the keys of those that are complete."""
        ...

    def send(self, children: Sequence[ChildRun]) -> Delivery:
        """Write children, each complete and ended, each key at most once."""
        ...

    def settle(self) -> None:
        """Remove what repeated requests may have made twice."""
        ...
