"""Frozen values that cross a process border.

Covers what a task takes (:class:`Series`) and what it gives (:class:`EntityResult`,
:class:`BatchReceipt`): plain data, small to pickle. Does not cover reading (``panel``),
computing (``task``) or storing (``store``).

Shapes: T observations of one entity, H steps of the horizon, L levels of the intervals, R rows of
a forecast: H, or H for each window of a backtest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    #: ``datetime64[us]``, or ``int64`` where the user's time column holds whole numbers
    Times = NDArray[np.datetime64] | NDArray[np.int64]
    Scalar = str | int | float | bool | None


class Status(StrEnum):
    """How the work on one entity ended."""

    OK = "ok"
    FALLBACK = "fallback"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the user's columns.

    Parameters
    ----------
    entity, time, target : str
        Column of the entity's id, of the time, of the observed value.
    """

    entity: str = "unique_id"
    time: str = "ds"
    target: str = "y"


MOST_TEXT = 40_000
"""Characters kept of a message or a traceback."""


def _bounded(text: str) -> str:
    """Take the middle out of what is longer than anybody reads, and say so."""
    n_left_out = len(text) - MOST_TEXT
    if n_left_out <= 0:
        return text
    half = MOST_TEXT // 2
    return f"{text[:half]}\n... {n_left_out:,} characters are left out ...\n{text[-half:]}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an entity fell back or has no forecast.

    Parameters
    ----------
    error_type : str
        Short name of the kind of trouble: ``DuplicateTimes``, ``TooShort``, or the class of an
        exception.
    message : str
        What was expected, what was found, what to do.
    traceback : str
        Of the exception, as text; empty where the trouble is the data's.
    """

    error_type: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException, *, traced: bool = False) -> Self:
        """Describe an exception, also one that cannot tell its own text.

        Parameters
        ----------
        error : BaseException
        traced : bool
            With its traceback.

        Examples
        --------
        >>> Failure.of(ValueError("expected 3 observations"))
        Failure(error_type='ValueError', message='expected 3 observations', traceback='')
        """
        try:
            message = str(error)
        except Exception as own:  # noqa: BLE001 - the class is other people's code
            message = f"its text cannot be had: its __str__ raises {type(own).__name__}"
        trace = "".join(format_exception(error)) if traced else ""
        return cls(type(error).__name__, _bounded(message), _bounded(trace))


@dataclass(frozen=True, slots=True)
class Series:
    """One entity on its regular grid of times, ready to be modelled.

    Parameters
    ----------
    unique_id : str
        The entity, as the user wrote it.
    y : ndarray of float64, shape [T]
        From the first to the last time of the entity; NaN where an observation is missing.
        Begins with an observation; may end with missing ones.
    cutoff : datetime64[us] or int
        The entity's last time.
    future : ndarray, shape [H]
        The times to forecast, in the user's own way of writing them.
    freq : str
        As a pandas alias (``MS``, ``ME``, ``QS-OCT``, ``W-SUN``, ``D``, ``h`` ...), or a whole
        number as text for integer times.
    season_length : int
        Steps in a season; 1 for none.
    repairs : tuple of str
        What was repaired because an option said so, one sentence each.
    problem : Failure or None
        Set where the entity cannot be forecast at all; ``y`` and ``future`` may then be empty.
    past : ndarray, shape [P], or None
        The times of the last P steps of ``y``, as the user wrote them; only where they were asked
        for, as a backtest does.
    """

    unique_id: str
    y: Floats
    cutoff: np.datetime64 | int | None
    future: Times
    freq: str
    season_length: int
    repairs: tuple[str, ...] = ()
    problem: Failure | None = None
    past: Times | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a fit leaves of one entity, to forecast from it again without a search.

    Parameters
    ----------
    recipe : str
        Forms, points, parameters and weights as JSON text; empty where the entity failed.
    failure : Failure or None
        Why it failed or fell back.
    refit : bool
        Estimate the parameters afresh; forms and weights stay.
    """

    recipe: str
    failure: Failure | None = None
    refit: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One point of an entity's search space and what came of it.

    Parameters
    ----------
    number : int
        Position in the order of evaluation, from 0.
    model : str
        The form, such as ``ETS(M,Ad,M)``.
    params : mapping
        The point itself, plain scalars.
    tune_loss : float
        Scaled rolling-origin error; NaN where the trial failed.
    weight : float
        In the final blend; 0 where it takes no part.
    seconds : float
    state : str
        ``complete`` or ``failed``.
    origin : str
        ``design`` (a first point), ``ask`` (proposed by the optimizer) or ``portfolio``.
    """

    number: int
    model: str
    params: Mapping[str, Scalar]
    tune_loss: float
    weight: float
    seconds: float
    state: str = "complete"
    origin: str = "design"


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast with its intervals.

    Parameters
    ----------
    times : ndarray, shape [R]
    mean : ndarray of float64, shape [R]
    lo, hi : ndarray of float64, shape [L, R]
        One row for each level, in the order of the configured levels.
    cutoffs : ndarray, shape [R], or None
        The last time that the forecast of a row knew; None where that is the entity's last time.
    actual : ndarray of float64, shape [R], or None
        What came in truth, NaN where it is missing; None where it is not known.
    """

    times: Times
    mean: Floats
    lo: Floats
    hi: Floats
    cutoffs: Times | None = None
    actual: Floats | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Prequential scores of one entity: each window is forecast from its own past alone.

    Empty scores are NaN. ``skill`` is ``1 - cv_mase / naive_mase``.
    """

    n_windows: int = 0
    tune_loss: float = float("nan")
    cv_mase: float = float("nan")
    cv_rmsse: float = float("nan")
    cv_smape: float = float("nan")
    naive_mase: float = float("nan")
    skill: float = float("nan")


@dataclass(frozen=True, slots=True)
class EntityResult:
    """What became of one entity: never nothing.

    Parameters
    ----------
    unique_id : str
    status : Status
    model : str
        The form with the largest weight; empty where failed.
    params : mapping
        Forms and weights of the blend; JSON-ready.
    n_obs : int
        Observations that are not missing.
    cutoff : datetime64[us], int or None
    scores : Scores
    checks : mapping
        Validation checks by name; JSON-ready.
    stopped_by : str
        ``trials``, ``exhausted``, ``time`` (not reproducible) or empty where nothing was searched.
    failure : Failure or None
    seconds : float
        Wall time of the entity.
    attempt : int
        1 for the first.
    forecast : Forecast or None
        None only where failed.
    trials : tuple of Trial
    """

    unique_id: str
    status: Status
    model: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    n_obs: int = 0
    cutoff: np.datetime64 | int | None = None
    scores: Scores = field(default_factory=Scores)
    checks: Mapping[str, Any] = field(default_factory=dict)
    stopped_by: str = ""
    failure: Failure | None = None
    seconds: float = 0.0
    attempt: int = 1
    forecast: Forecast | None = None
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """What a worker tells the driver of a batch that is durable in the run folder.

    Parameters
    ----------
    batch : str
        Name of the batch, such as ``b00012``.
    n_entities, n_ok, n_fallback, n_failed : int
    cpu_s : mapping
        CPU seconds of the worker's thread by stage: ``read``, ``fit``, ``store``.
    wall_s : float
    worker : str
    """

    batch: str
    n_entities: int
    n_ok: int
    n_fallback: int
    n_failed: int
    cpu_s: Mapping[str, float]
    wall_s: float
    worker: str
