"""Lines of pods, kept while the pods come and go: of nodes that are made up, and of a real one."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from daskcast.k8s import pod_logs
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.pod_logs import PodLogs

WORKER = "c-default-worker-1-x"


class Nodes:
    """Answers as the API does, from lines with times."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.previous: dict[str, list[str]] = {}
        self.asked: list[dict[str, Any]] = []

    async def log_of(self, pod: str, **params: Any) -> str:
        self.asked.append({"pod": pod, **params})
        lines = (self.previous if params.get("previous") else self.lines).get(pod)
        if lines is None:
            raise RefusedError(400, "container is waiting to start")
        if since := params.get("sinceTime"):
            lines = [line for line in lines if moment(line) >= moment(since)]
        text = "".join(f"{line}\n" for line in lines)
        return text.encode()[: params["limitBytes"]].decode()


def moment(line: str) -> datetime:
    return datetime.fromisoformat(line.partition(" ")[0])


def at(second: int, text: str, nanoseconds: int = 0) -> str:
    return f"2026-01-01T00:00:{second:02d}.{nanoseconds:09d}Z {text}"


def pod(name: str = WORKER, n_restarts: int = 0, state: str = "running") -> dict[str, Any]:
    status = {"name": "worker", "restartCount": n_restarts, "state": {state: {}}}
    return {
        "metadata": {"name": name, "labels": {"dask.org/component": "worker"}},
        "status": {"containerStatuses": [status]},
    }


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def logs(nodes: Nodes) -> PodLogs:
    return PodLogs(nodes)


def turn(logs: PodLogs, *pods: dict[str, Any]) -> None:
    logs.see(pods)
    asyncio.run(logs.read())


def messages(logs: PodLogs, name: str = WORKER) -> list[str]:
    return [record["message"] for record in logs.records().get(name, [])]


def test_each_line_is_kept_once(nodes: Nodes, logs: PodLogs) -> None:
    """The API knows whole seconds only: lines of the last second come again, and new ones do."""
    nodes.lines[WORKER] = [at(1, "a"), at(2, "b", 5), at(2, "c", 5)]
    turn(logs, pod())
    nodes.lines[WORKER] += [at(2, "d", 5), at(2, "e", 6), at(3, "f")]
    turn(logs, pod())
    turn(logs, pod())
    assert messages(logs) == ["a", "b", "c", "d", "e", "f"]
    assert [asked.get("sinceTime") for asked in nodes.asked] == [
        None, "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z",
    ]  # fmt: skip


@pytest.mark.parametrize("offset", ["+02:00", "-08:00", "+05:30"])
def test_nodes_with_a_time_zone_of_their_own(nodes: Nodes, logs: PodLogs, offset: str) -> None:
    """The API is asked in UTC; the last second is not lost, and nothing comes twice."""
    there = datetime.fromisoformat(f"2026-11-28T23:59:58{offset}")
    nodes.lines[WORKER] = [f"{there.isoformat()} a"]
    turn(logs, pod())
    nodes.lines[WORKER] += [
        f"2026-11-28T23:59:58.1{offset} b",
        f"2026-11-28T23:59:58.123456789{offset} c",
        f"{(there + timedelta(seconds=3)).isoformat()} d",
    ]
    turn(logs, pod())
    turn(logs, pod())
    assert messages(logs) == ["a", "b", "c", "d"]
    asked = [moment(found["sinceTime"]) - there for found in nodes.asked[1:]]
    assert asked == [timedelta(0), timedelta(seconds=3)]
    assert all(found["sinceTime"].endswith("Z") for found in nodes.asked[1:])
    times = [moment(record["time"]) - there for record in logs.records()[WORKER]]
    assert times == [timedelta(seconds=s) for s in (0, 0.1, 0.123456, 3)]


def test_a_node_whose_clock_changes_its_offset(nodes: Nodes, logs: PodLogs) -> None:
    """As in autumn: the hour that comes twice is not taken for the past."""
    nodes.lines[WORKER] = ["2026-10-25T02:59:59.5+02:00 summer"]
    turn(logs, pod())
    nodes.lines[WORKER].append("2026-10-25T02:00:00.5+01:00 winter")
    turn(logs, pod())
    assert messages(logs) == ["summer", "winter"]


def test_a_full_second_of_a_node_with_a_time_zone(
    nodes: Nodes, logs: PodLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_logs, "ANSWER_BYTES", 120)
    east = "2026-01-01T05:00:0{}.{:09d}+05:00 {}"
    nodes.lines[WORKER] = [east.format(1, n, f"line {n}") for n in range(10)]
    nodes.lines[WORKER].append(east.format(2, 0, "later"))
    turn(logs, pod())
    assert messages(logs)[-1] == "later"


def test_a_line_without_a_time_is_of_the_one_before(nodes: Nodes, logs: PodLogs) -> None:
    nodes.lines[WORKER] = [at(1, "a"), "Traceback more", "2026-99-99T00:00:00Z odd", at(2, "b")]
    turn(logs, pod())
    assert [record["time"][17:19] for record in logs.records()[WORKER]] == ["01", "01", "01", "02"]


def test_a_container_that_began_again_keeps_its_first_lines(nodes: Nodes, logs: PodLogs) -> None:
    nodes.lines[WORKER] = [at(1, "a")]
    turn(logs, pod())
    nodes.previous[WORKER] = [at(1, "a"), at(2, "dying")]
    nodes.lines[WORKER] = [at(3, "anew")]
    turn(logs, pod(n_restarts=1))
    turn(logs, pod(n_restarts=1))
    assert messages(logs) == ["a", "dying", "anew"]


def test_the_dead_keep_their_lines(nodes: Nodes, logs: PodLogs) -> None:
    """A pod that is gone is not asked again, and answers all the same."""
    nodes.lines = {"one": [at(1, "last words")], "two": [at(1, "here")]}
    turn(logs, pod("one"), pod("two"))
    turn(logs, pod("two"))
    assert messages(logs, "one") == ["last words"]
    assert [asked["pod"] for asked in nodes.asked] == ["one", "two", "two"]


def test_a_pod_that_has_not_begun_is_not_asked(nodes: Nodes, logs: PodLogs) -> None:
    turn(logs, pod(state="waiting"))
    assert nodes.asked == []
    turn(logs, pod())  # it has no log yet, which is no matter
    assert logs.records() == {WORKER: []}


def test_only_so_much_is_kept(nodes: Nodes, logs: PodLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "N_LINES", 3)
    monkeypatch.setattr(pod_logs, "N_CHARACTERS", 30)
    nodes.lines[WORKER] = [at(n, f"line {n}") for n in range(10)]
    turn(logs, pod())
    first, *others = logs.records()[WORKER]
    assert first["message"].startswith("7 lines before this were not kept")
    assert first["level"] == "WARNING"
    assert [record["message"] for record in others] == ["line 7", "line 8", "line 9"]
    nodes.lines[WORKER].append(at(11, "x" * 100))
    turn(logs, pod())
    assert messages(logs)[1:] == ["x" * 30]


def test_the_first_dead_make_room(
    nodes: Nodes, logs: PodLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_logs, "N_PODS", 2)
    logs.see([pod("a"), pod("b"), pod("c")])
    assert set(logs.records()) == {"a", "b"}, "no room among the living"
    logs.see([pod("b"), pod("c")])
    assert set(logs.records()) == {"b", "c"}


def test_an_answer_that_is_cut_is_gone_on_with(
    nodes: Nodes, logs: PodLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_logs, "ANSWER_BYTES", 120)
    nodes.lines[WORKER] = [at(n, f"line {n}") for n in range(10)]
    turn(logs, pod())
    assert messages(logs) == [f"line {n}" for n in range(10)]


def test_a_second_with_more_than_an_answer_holds_does_not_hang(
    nodes: Nodes, logs: PodLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of that second is lost rather than asked for again and again."""
    monkeypatch.setattr(pod_logs, "ANSWER_BYTES", 120)
    nodes.lines[WORKER] = [at(1, f"line {n}", n) for n in range(10)] + [at(2, "later")]
    turn(logs, pod())
    assert messages(logs) == ["line 0", "line 1", "line 2", "later"]


def test_nodes_that_know_no_times(nodes: Nodes, logs: PodLogs) -> None:
    nodes.lines[WORKER] = ["one two", "three"]
    turn(logs, pod())
    nodes.lines[WORKER].append("four")
    turn(logs, pod())
    nodes.previous[WORKER], nodes.lines[WORKER] = nodes.lines[WORKER], ["five"]
    turn(logs, pod(n_restarts=1))
    assert messages(logs) == ["one two", "three", "four", "five"]


def test_lines_become_records(nodes: Nodes, logs: PodLogs) -> None:
    """JSON of ours keeps what it says; all else is a message of the pod, at its time."""
    ours = {"time": "2026-01-01T00:00:00.5+00:00", "level": "WARNING", "logger": "daskcast.task"}
    ours |= {"run": "r", "batch": "b1", "entity": "JFK", "worker": "", "message": "slow", "n": 3}
    nodes.lines[WORKER] = [
        at(1, json.dumps(ours)),
        at(2, "plain to https://me:pw@host/x", 123456789),
        at(3, '{"level": "loud", "message": "odd"}'),
        at(4, '{"message": 3}'),
        at(5, "{not json"),
        at(6, ""),
    ]
    turn(logs, pod())
    first, plain, odd, *others = logs.records()[WORKER]
    assert first == {**ours, "worker": WORKER}
    assert plain == {
        **{"time": "2026-01-01T00:00:02.123456+00:00", "level": "INFO", "logger": ""},
        **{"run": "", "entity": "", "batch": "", "worker": WORKER},
        "message": "plain to https://host/x",
    }
    assert (odd["level"], odd["message"]) == ("INFO", "odd")
    assert [record["message"] for record in others] == ['{"message": 3}', "{not json", ""]
