"""What a run uses of its cluster: few samples, from whoever computes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from daskcast.cluster import open_cluster
from daskcast.config import RunOptions
from daskcast.usage import MOST_SAMPLES, Usage


def spin(seconds: float) -> float:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return seconds


def test_this_process_is_sampled() -> None:
    """A busy second is a core, or most of one; memory is what a process has that imported much."""
    usage = Usage(time.time() - 100.0, interval_s=0.0)
    spin(0.5)
    usage.sample("synchronous")
    (sample,) = usage.samples
    assert 100 <= sample["at_s"] < 130
    assert 20 < sample["cpu_percent"] < 150
    assert 50 < sample["memory_mb"] < 50_000
    assert sample["workers"] >= 1


def test_it_waits_for_its_time() -> None:
    """Asked at each batch, it looks now and then."""
    usage = Usage(time.time(), interval_s=60.0)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(100):
            usage.sample(pool)
        assert usage.samples == []
        usage.sample(pool, now=True)
    assert len(usage.samples) == 1


def test_a_long_run_has_few_samples() -> None:
    """Every other one is dropped; the last stays, and the order."""
    usage = Usage(0.0, [{"at_s": float(n), "cpu_percent": 1.0} for n in range(MOST_SAMPLES)])
    for _ in range(3):
        usage.sample("synchronous", now=True)
    times = [sample["at_s"] for sample in usage.samples]
    assert len(times) <= MOST_SAMPLES
    assert times == sorted(times)
    assert len([at for at in times if at < MOST_SAMPLES]) >= MOST_SAMPLES // 2 - 1


@pytest.mark.integration
def test_workers_of_a_cluster_are_sampled() -> None:
    """CPU, memory and tasks are those of the workers; a scheduler that is gone is no trouble."""
    options = RunOptions(cluster="local", workers=2, tracking=False)
    with open_cluster(options) as client:
        usage = Usage(time.time(), interval_s=0.0)
        busy = client.map(spin, [3.0, 3.01])
        until = time.monotonic() + 20
        while not any(s["tasks"] == 2 and s["cpu_percent"] > 50 for s in usage.samples):
            assert time.monotonic() < until, usage.samples
            usage.sample(client)
            time.sleep(0.2)
        assert {sample["workers"] for sample in usage.samples} == {2}
        assert all(50 < sample["memory_mb"] < 50_000 for sample in usage.samples)
        client.gather(busy)
        n_before = len(usage.samples)
    usage.sample(client, now=True)
    assert len(usage.samples) == n_before


def test_what_cannot_be_seen_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that nobody may list, or whatever else is wrong: there is no sample."""

    def refuse(*_: object, **__: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "children", refuse)
    usage = Usage(time.time())
    usage.sample("synchronous", now=True)
    assert usage.samples[0]["workers"] == 1
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: None)
    usage.sample("synchronous", now=True)
    assert len(usage.samples) == 1
