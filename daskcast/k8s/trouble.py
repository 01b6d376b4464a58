"""What is seen of a Dask cluster, and what may be wrong with it: values alone.

Does not cover telling one from the other (``why``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.k8s.pods import Component, Object

AT_ONCE_S, SOON_S, OPERATOR_S, LATER_S, SILENT_S = 0.0, 5.0, 25.0, 20.0, 90.0
"""How long a trouble may last before it ends a start: some pass by themselves."""

_PASSING = ("room", "quota", "operator", "box", "silent", "evicted")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the API told about a Dask cluster at one moment.

    Parameters
    ----------
    cluster, namespace : str
    pods, events, deployments : sequence of mapping
        Events and deployments are empty where they may not be read.
    nodes, others : sequence of mapping, optional
        The nodes, and the pods of all namespaces; None where they may not be read.
    pull_errors : mapping of str to str
        What was told earlier about an image, by pod: the state that says why is soon replaced.
    phase : str, optional
        Of the ``DaskCluster``; empty where no operator has acted yet, None where nobody asked.
    n_connected : int
        Workers that the scheduler knows.
    like_workers : bool
        Whether a driver is placed as workers are, by their options.
    """

    cluster: str
    namespace: str
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    deployments: Sequence[Object] = ()
    nodes: Sequence[Object] | None = None
    others: Sequence[Object] | None = None
    pull_errors: Mapping[str, str] | None = None
    phase: str | None = None
    n_connected: int = 0
    like_workers: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with a cluster.

    Parameters
    ----------
    cause : str
        Of a few kinds, such as ``"image"``; stays the same while the trouble lasts.
    component : {'scheduler', 'worker', 'cluster'}
    sentence : str
        What is wrong, and what to do.
    pod, container : str
        Empty where there is none.
    patience_s : float
        How long it may last before it ends a start; infinite while a node is made.
    log : {'', 'current', 'previous'}
        Where the container's last lines are, if they say more.
    """

    cause: str
    component: Component
    sentence: str
    pod: str = ""
    container: str = ""
    patience_s: float = AT_ONCE_S
    log: Literal["", "current", "previous"] = ""

    @property
    def may_pass(self) -> bool:
        """Whether a start may succeed later, with nothing changed."""
        return self.cause in _PASSING
