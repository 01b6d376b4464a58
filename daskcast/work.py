"""What a task does with one batch: load, forecast, make durable, give a receipt.

Covers the batch as it travels, the work and its CPU seconds. Does not cover the graph and the order
of batches (``engine``), forecasting itself (``task``) or the files (``store``).
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daskcast import logs, panel
from daskcast.apart.words import Limits
from daskcast.errors import StoppedError
from daskcast.records import BatchReceipt, Status
from daskcast.store.patience import NO_ROOM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from daskcast.config import ForecastConfig
    from daskcast.panel import BatchData
    from daskcast.records import EntityResult, Kept, Series
    from daskcast.settings import TaskSettings
    from daskcast.store import RunFolder


@dataclass(frozen=True, slots=True)
class Batch:
    """Some entities that one task goes through, one after another.

    Parameters
    ----------
    name : str
        Such as ``b00012``; unique in the run folder.
    data : BatchData
        Loads the rows where the task runs.
    n_entities : int
    attempt : int
        1 for the first.
    kept : mapping of str to Kept, optional
        What an earlier fit left, by id; None searches.
    apart : bool
        Work on the entities in a process of their own: workers died of this batch before.
    amends : bool
        Whether these are some of the entities of a batch of that name that is durable already.
    """

    name: str
    data: BatchData
    n_entities: int
    attempt: int = 1
    kept: Mapping[str, Kept] | None = None
    apart: bool = False
    amends: bool = False

    def __dask_tokenize__(self) -> str:
        """Give a new name each time: a key seen before would bring its old result or error."""
        return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class BatchWork:
    """Loads a batch, forecasts its entities, makes the results durable: what a task does.

    Parameters
    ----------
    folder : RunFolder
    config : ForecastConfig
    run : str
        Name of the run, for the logs.
    stores : bool
        False where workers cannot reach the folder: the results then travel to the driver.
    limits : Limits
        What one entity may take. Without one on time, the others hold for batches apart alone.
    """

    folder: RunFolder
    config: ForecastConfig
    run: str = ""
    stores: bool = True
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    def __call__(self, batch: Batch) -> BatchReceipt | Computed:
        """Do one batch; runs on a worker."""
        from daskcast.settings import TaskSettings  # noqa: PLC0415 - heavy: where work is done

        settings = TaskSettings.of(self.config)
        rules = panel.GridRules.of(self.config)
        watch = _Stopwatch()
        with logs.capture() as records, logs.bound(run=self.run, batch=batch.name):
            with watch.stage("read"):
                series = panel.regularise(batch.data.load(), rules)
            with watch.stage("fit"):
                results = self._forecast(batch, series, settings)
            _check_complete(batch, series, results)
        computed = Computed(
            self.folder,
            batch.name,
            results,
            records,
            watch.cpu_s,
            watch.wall_s,
            logs.this_worker(),
            amends=batch.amends,
            began_ms=watch.began_ms,
        )
        return computed.store() if self.stores else computed

    def _forecast(
        self, batch: Batch, series: Sequence[Series], settings: TaskSettings
    ) -> list[EntityResult]:
        from daskcast import apart, task  # noqa: PLC0415 - heavy

        if batch.apart or self.limits.seconds is not None:
            return apart.run_apart(series, settings, batch.attempt, batch.kept, self.limits)
        return task.run_batch(series, settings, batch.attempt, batch.kept)


@dataclass(frozen=True, slots=True)
class Computed:
    """A batch that is computed and not yet durable; parameters as of :class:`BatchWork`."""

    folder: RunFolder
    batch: str
    results: Sequence[EntityResult]
    records: Sequence[dict[str, Any]]
    cpu_s: dict[str, float]
    wall_s: float
    worker: str
    amends: bool = False
    began_ms: int | None = None

    def store(self) -> BatchReceipt:
        """Make it durable and give its receipt; StoppedError where there is no room for more."""
        watch = _Stopwatch()
        try:
            with watch.stage("store"):
                write = self.folder.amend_batch if self.amends else self.folder.write_batch
                write(self.batch, self.results, self.records, began_ms=self.began_ms)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise StoppedError(
                f"the run folder {self.folder.place} takes no more ({error}); make room there"
            ) from error
        n_of = Counter(result.status for result in self.results)
        return BatchReceipt(
            batch=self.batch,
            n_entities=len(self.results),
            n_ok=n_of[Status.OK],
            n_fallback=n_of[Status.FALLBACK],
            n_failed=n_of[Status.FAILED],
            cpu_s={**self.cpu_s, **watch.cpu_s},
            wall_s=self.wall_s + watch.wall_s,
            worker=self.worker,
        )


class _Stopwatch:
    """CPU seconds of this thread by stage, and the wall time since it was made."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self._start = time.perf_counter()
        self.began_ms = time.time_ns() // 1_000_000

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.thread_time()
        yield
        self.cpu_s[name] = time.thread_time() - start

    @property
    def wall_s(self) -> float:
        return time.perf_counter() - self._start


def _check_complete(
    batch: Batch, series: Sequence[Series], results: Sequence[EntityResult]
) -> None:
    asked = [one.unique_id for one in series]
    given = [one.unique_id for one in results]
    assert len(asked) == batch.n_entities and given == asked, (  # noqa: PT018
        f"batch {batch.name}: {batch.n_entities} entities went in, {len(asked)} were read, "
        f"{len(given)} came out"
    )
