"""What a client and a server say to each other to write many runs.

Covers what a complete run is (:class:`CompleteRun`), the route, the body of a request and its
checks. Imports nothing but MLflow and what MLflow
brings.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from daskcast.mlflow_plugin import PARENT_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUTE = "/api/2.0/daskcast/runs"
#: Of what is said; a client and a server of different versions do not use the route.
VERSION = 1
MAX_BYTES = 16_000_000
MAX_RUNS = 5_000
_HIGHEST = 2**62


def _unlike_a_path(key: str) -> str:
    if "/" in key and (posixpath.normpath(key) != key or key.startswith(("/", ".."))):
        raise ValueError("a key must not go up or back as a path does")
    return key


_Key = Annotated[
    str,
    StringConstraints(min_length=1, max_length=250, pattern=r"^[A-Za-z0-9_.\-: /]+$"),
    AfterValidator(_unlike_a_path),
]
_Tag = Annotated[str, StringConstraints(max_length=5000)]
_Param = Annotated[str, StringConstraints(max_length=6000)]
_Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_Time = Annotated[int, Field(ge=0, le=_HIGHEST)]
_Whole = Annotated[int, Field(ge=-_HIGHEST, le=_HIGHEST)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(slots=True, kw_only=True)
class CompleteRun:
    """A run from its start to its end; a request is checked against what stands here.

    Parameters
    ----------
    run_id : str
        32 hexadecimal digits: the same run always has the same.
    name : str
    status : {"FINISHED", "FAILED", "KILLED"}
    start_time, end_time : int
        Milliseconds since the epoch.
    tags, params : dict of str to str
    metrics : list of (str, float, int, int)
        Key, value, timestamp in milliseconds since the epoch, step.
    supersedes : list of str
        Ids of runs that this one takes the place of; those that are not there are passed over.
    """

    run_id: _Id
    name: Annotated[str, StringConstraints(min_length=1, max_length=250)]
    status: Annotated[str, StringConstraints(pattern="^(FINISHED|FAILED|KILLED)$")]
    start_time: _Time
    end_time: _Time
    tags: Annotated[dict[_Key, _Tag], Field(max_length=100)]
    params: Annotated[dict[_Key, _Param], Field(max_length=2000)]
    metrics: Annotated[list[tuple[_Key, _Finite, _Time, _Whole]], Field(max_length=100_000)]
    supersedes: Annotated[list[_Id], Field(max_length=1000)]


def _each_once(runs: list[CompleteRun]) -> list[CompleteRun]:
    if len({run.run_id for run in runs}) < len(runs):
        raise ValueError("a run must be in a request once")
    if any(run.tags.get(PARENT_TAG) == run.run_id for run in runs):
        raise ValueError("a run cannot be below itself")
    return runs


@dataclass(slots=True, kw_only=True)
class _Request:
    experiment_id: Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,17})$")]
    runs: Annotated[
        list[CompleteRun],
        Field(min_length=1, max_length=MAX_RUNS),
        AfterValidator(_each_once),
    ]


class RefusedError(ValueError):
    """A request that is not what it must be."""


def body_of(experiment_id: str, runs: Sequence[CompleteRun]) -> bytes:
    """Write the body of a request.

    Parameters
    ----------
    experiment_id : str
    runs : sequence of CompleteRun
    """
    plain = [{name: getattr(run, name) for name in CompleteRun.__slots__} for run in runs]
    return json.dumps({"experiment_id": experiment_id, "runs": plain}).encode()


def read_body(body: bytes) -> tuple[str, list[CompleteRun]]:
    """Read and check the body of a request.

    Parameters
    ----------
    body : bytes

    Returns
    -------
    str and list of CompleteRun
        The experiment, and the runs.

    Raises
    ------
    RefusedError
        Names the first fields that are wrong, and what they must be.
    """
    try:
        found = _REQUEST.validate_json(body, strict=True)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in told[:5])
        raise RefusedError(f"{len(told)} fields are not what they must be: {wrong}") from None
    return found.experiment_id, found.runs


_REQUEST = TypeAdapter(_Request)
