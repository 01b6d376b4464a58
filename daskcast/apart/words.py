"""What caller, warden and runner say to each other.

Covers the values that travel. Does not cover who sends them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.records import EntityResult, Kept, Series
    from daskcast.settings import TaskSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """What one entity may take.

    Parameters
    ----------
    seconds : float or None
        Of wall time.
    memory : int or None
        Bytes that its process may hold.
    """

    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Entities to be worked on apart.

    Parameters
    ----------
    series : sequence of Series, [N]
    settings : TaskSettings
    attempt : int
    kept : mapping of str to Kept
        Empty where all are searched.
    limits : Limits
    names : mapping of str to str
        What log records are bound to: run and batch.
    """

    series: Sequence[Series]
    settings: TaskSettings
    attempt: int
    kept: Mapping[str, Kept]
    limits: Limits
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Begun:
    """The runner has begun with the entity at a position."""

    position: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The entity at a position has its result, and what was logged of it."""

    position: int
    result: EntityResult
    records: Sequence[dict[str, Any]]
