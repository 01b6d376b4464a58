"""The engine: every batch once, in order, told as it ends, whatever its task does."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from daskcast.engine import run_batches
from daskcast.engine.graph import parts_of
from daskcast.errors import DataError, StoppedError
from daskcast.records import BatchReceipt
from daskcast.work import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEDULERS = ["synchronous", "threads", "processes", "distributed"]


@dataclass(frozen=True)
class Job:
    """Stands in for a batch's data: what its task is to do."""

    act: str = "ok"


class Unpicklable(Exception):
    """Cannot be built again from its arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


def work(batch: Batch) -> BatchReceipt:
    """Do what the job says; the clock of the start is in the receipt."""
    receipt = BatchReceipt(
        batch=batch.name,
        n_entities=batch.n_entities,
        n_ok=batch.n_entities,
        n_fallback=0,
        n_failed=0,
        cpu_s={"start": time.monotonic()},
        wall_s=0.0,
        worker=str(os.getpid()),
    )
    match batch.data.act:  # type: ignore[attr-defined]
        case "stop-iteration":
            next(iter(()))
        case "value-error":
            raise ValueError("no good")
        case "data-error":
            raise DataError("column y is gone")
        case "unpicklable":
            raise Unpicklable(code=3)
        case "lose":
            return replace(receipt, n_ok=receipt.n_ok - 1)
        case "interrupt":
            raise KeyboardInterrupt
        case "slow":
            time.sleep(0.2)
    return receipt


def batches(*acts: str) -> list[Batch]:
    """Name one batch for each act."""
    return [Batch(f"b{i:05d}", Job(act), 3) for i, act in enumerate(acts)]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(params=SCHEDULERS)
def scheduler(request: pytest.FixtureRequest) -> Iterator[Any]:
    match request.param:
        case "synchronous":
            yield "synchronous"
        case "threads":
            with ThreadPoolExecutor(1) as pool:
                yield pool
        case "processes":
            yield request.getfixturevalue("processes")
        case "distributed":
            yield request.getfixturevalue("client")


def told(some: list[Batch], scheduler: Any) -> tuple[list[BatchReceipt], Exception | None]:
    """Run and give the receipts, and what the run raised."""
    receipts: list[BatchReceipt] = []
    try:
        run_batches(some, work, scheduler, receipts.append)
    except (StoppedError, DataError) as error:
        return receipts, error
    return receipts, None


@pytest.mark.integration
def test_each_batch_is_told_once_and_starts_in_order(scheduler: Any) -> None:
    """More batches than ten, so that the order of their text would show."""
    some = batches(*["ok"] * 23)
    receipts, error = told(some, scheduler)
    assert error is None
    assert sorted(r.batch for r in receipts) == [b.name for b in some]
    starts = sorted(receipts, key=lambda r: r.cpu_s["start"])
    assert [r.batch for r in starts] == [b.name for b in some]


@pytest.mark.integration
@pytest.mark.parametrize("act", ["stop-iteration", "value-error", "unpicklable"])
def test_a_raising_task_stops_no_other_and_is_named(act: str, scheduler: Any) -> None:
    """A task that raises is reported after all the others are finished."""
    receipts, error = told(batches("ok", act, "ok", "ok"), scheduler)
    assert sorted(r.batch for r in receipts) == ["b00000", "b00002", "b00003"]
    assert isinstance(error, StoppedError)
    assert "b00001" in str(error)
    assert "b00002" not in str(error)


@pytest.mark.integration
def test_an_error_that_is_final_keeps_its_class(scheduler: Any) -> None:
    """What no second attempt can mend is raised as what it is."""
    receipts, error = told(batches("data-error", "ok", "value-error"), scheduler)
    assert [r.batch for r in receipts] == ["b00001"]
    assert isinstance(error, DataError)
    assert error.problems == ("column y is gone",)


@pytest.mark.integration
def test_a_batch_that_lost_an_entity_is_an_error(scheduler: Any) -> None:
    """As many entities come out as went in, or the run says so at once."""
    with pytest.raises(AssertionError, match="b00001 took 3 entities and gave back 2"):
        told(batches("ok", "lose"), scheduler)


@pytest.mark.integration
def test_receipts_come_while_others_still_run(scheduler: Any) -> None:
    """The first receipt is there before the last batch has started."""
    first_told: list[float] = []
    starts: list[float] = []

    def on_receipt(receipt: BatchReceipt) -> None:
        first_told.append(time.monotonic())
        starts.append(receipt.cpu_s["start"])

    run_batches(batches(*["slow"] * 4), work, scheduler, on_receipt)
    assert first_told[0] < max(starts)


@pytest.mark.integration
def test_what_the_listener_raises_reaches_the_caller(scheduler: Any) -> None:
    """An error of the driver's own side stops the run as it is."""

    def on_receipt(_receipt: BatchReceipt) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_batches(batches("ok", "ok"), work, scheduler, on_receipt)


def test_nothing_to_do_is_done() -> None:
    """No batches: no graph, no error."""
    run_batches([], work, "synchronous", _never)


def test_an_interrupt_stops_the_run() -> None:
    """Ctrl-C during a batch ends the run as stopped; what is finished was told."""
    receipts, error = told(batches("ok", "interrupt", "ok"), "synchronous")
    assert [r.batch for r in receipts] == ["b00000"]
    assert isinstance(error, StoppedError)
    assert str(error) == "interrupted"


def test_a_dead_process_stops_the_run() -> None:
    """The pool of processes gives up on a death; the run is stopped, not crashed."""
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(StoppedError, match="a worker process died"),
    ):
        run_batches(batches("ok", "ok"), _die, pool, _never)


def _never(receipt: BatchReceipt) -> None:
    pytest.fail(f"told {receipt}")


def _die(_batch: Batch) -> BatchReceipt:
    os._exit(1)


@pytest.mark.integration
def test_a_lost_cluster_stops_the_run() -> None:
    """When the scheduler goes away while batches run, the run is stopped and resumable."""
    cluster = LocalCluster(
        n_workers=1,
        processes=False,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    )
    client = Client(cluster, set_as_default=False)
    receipts: list[BatchReceipt] = []

    def on_receipt(receipt: BatchReceipt) -> None:
        receipts.append(receipt)
        if len(receipts) == 1:
            closing = threading.Thread(target=client.close)
            closing.start()
            closing.join(30)

    try:
        with pytest.raises(StoppedError):
            run_batches(batches(*["slow"] * 6), work, client, on_receipt)
    finally:
        client.close()
        cluster.close()
    assert receipts


@pytest.mark.integration
def test_the_same_batches_can_be_run_again(client: Client) -> None:
    """A second run of equal batches computes again: an old error is not handed out."""
    some = batches("value-error", "ok")
    for _ in range(2):
        receipts, error = told(some, client)
        assert [r.batch for r in receipts] == ["b00001"]
        assert isinstance(error, StoppedError)
    first, _ = told(batches("ok"), client)
    again, _ = told(batches("ok"), client)
    assert again[0].cpu_s["start"] > first[0].cpu_s["start"]


@given(st.lists(st.sampled_from(["ok", "value-error", "stop-iteration"]), max_size=12))
@settings(max_examples=40, deadline=None)
def test_told_and_named_make_the_whole(acts: list[str]) -> None:
    """Whatever the tasks do, each batch is either told or named, never both, never neither."""
    some = batches(*acts)
    receipts, error = told(some, "synchronous")
    done = {r.batch for r in receipts}
    assert done == {b.name for b, act in zip(some, acts, strict=True) if act == "ok"}
    assert len(receipts) == len(done)
    assert (error is None) == (len(done) == len(some))
    n_named = int(str(error).split(" of ")[0]) if error else 0
    assert n_named == len(some) - len(done)


def test_a_long_list_of_errors_is_shortened() -> None:
    """The message names a few batches and counts the others."""
    _, error = told(batches(*["value-error"] * 9), "synchronous")
    assert "and 4 more" in str(error)
    assert len(str(error)) < 3000


def test_the_graph_is_built_without_working() -> None:
    """No task runs while the graph is built."""
    parts = parts_of(batches("ok", "ok"), _die)
    assert len(parts) == 2
