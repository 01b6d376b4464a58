"""Sending what is finished to the tracking store while the rest is still being worked on.

Covers :class:`TrackingWriter`: one thread that reads finished batches back from the run folder
and hands them to a tracker. Does not cover what a run holds (``children``, ``parent``,
``artifacts``) or how a store takes it (``base``, ``memory``, ``mlflow_client``).

Tracking never stops a run: whatever goes wrong becomes one warning, and the forecasts stay in
the run folder.
"""

from __future__ import annotations

import contextvars
import logging
import queue
import shlex
import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from daskcast.errors import StoreError, TrackingError
from daskcast.redact import printable
from daskcast.store.lock import only_one
from daskcast.tracking.ahead import made_ahead
from daskcast.tracking.artifacts import artifacts
from daskcast.tracking.base import RunStatus, TrackingSummary
from daskcast.tracking.children import ENTITY_COLUMNS, TRIAL_COLUMNS, child_runs
from daskcast.tracking.cost import n_requests
from daskcast.tracking.limits import shorten
from daskcast.tracking.parent import Aggregates
from daskcast.tracking.uris import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    import pyarrow as pa

    from daskcast.tracking.base import (
        Artifact,
        ChildRun,
        Delivery,
        MetricPoint,
        ParentRun,
        Tracker,
        TrackingInfo,
    )

logger = logging.getLogger(__name__)

#: Above what one group takes at a store that is slow but alive; the client gives up a dead one
#: much sooner.
PATIENCE_S = 300.0
LOCK_WAIT_S = 60.0
#: How long after a failed start the store is asked again, while there is work.
AGAIN_S = 15.0
#: How long a store that did not answer may still take, once the work is over.
LAST_S = 3.0
_TICK_S = 0.2
MAX_SHOWN = 60
_A = TypeVar("_A")
_T = TypeVar("_T")


class Folder(Protocol):
    """What the writer needs of a run folder."""

    @property
    def url(self) -> str:
        """Where the folder is: a path or an fsspec URL."""
        ...

    def read(
        self,
        table: Any,
        batches: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Read a table, or the part of it that some batches wrote."""
        ...

    def began(self, batch: str) -> Mapping[str, int]:
        """Say when the work of each attempt began, in milliseconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class _End:
    """The last thing in the queue."""

    status: RunStatus
    metrics: Mapping[str, float]
    history: Sequence[MetricPoint]


@dataclass(frozen=True, slots=True)
class _Made:
    """A batch as it is sent."""

    entities: pa.Table
    children: list[ChildRun]
    cpu_s: float


class TrackingWriter:
    """Track finished batches from one thread, off the path of the work.

    Holds the names of batches, never their results: memory stays small however slow the store.

    Parameters
    ----------
    tracker : Tracker
    folder : Folder
        The run folder that the batches are read back from.
    detail : {"summary", "entity", "trial"}
        ``summary`` tracks the parent alone.
    patience_s : float
        Seconds without any progress after which :meth:`close` gives up.

    Notes
    -----
    Use: :meth:`start` once, :meth:`batch_done` for each batch that is durable in the folder,
    :meth:`close` once. None of them but the last waits for the store. After trouble, or a failed
    start, all of them do nothing.
    """

    def __init__(
        self,
        tracker: Tracker,
        folder: Folder,
        *,
        detail: str = "entity",
        patience_s: float = PATIENCE_S,
        advises: bool = True,
    ) -> None:
        self._tracker = tracker
        self._folder = folder
        self._detail = detail
        self._patience_s = patience_s
        self._advises = advises
        self._queue: queue.SimpleQueue[str | _End] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._opened = threading.Event()
        self._nothing_else = threading.Event()
        self._asked = tracker.info.experiment
        self._silence = ""
        self._aggregates = Aggregates()
        self._parent_id = ""
        self._stopped = ""
        self._given_up = False
        self._refused: list[tuple[str, str]] = []
        self._n_entities = self._n_trials = self._start_ms = 0
        self._n_expected = self._n_sent = 0
        self._cpu_s = 0.0
        self._lock = threading.Lock()
        self._began = self._beat = self._end = time.monotonic()

    @property
    def info(self) -> TrackingInfo:
        """Where the run is tracked; for ``run.json``."""
        return self._tracker.info

    def start(self, parent: ParentRun, *, n_entities: int = 0, n_trials: int = 0) -> None:
        """Begin to open the parent run, and then to send. Returns at once.

        A new store takes seconds to open: they pass while batches are worked on. So does the time
        until a store that does not answer yet does: it is asked again and again until
        :meth:`wait_until_open` or :meth:`close` is called.

        Parameters
        ----------
        parent : ParentRun
        n_entities, n_trials : int
            Entities of the run, and trials of each: to warn of very many requests.
        """
        self._n_entities, self._n_trials = n_entities, n_trials
        self._start_ms = parent.start_ms
        # A thread starts without context variables: with those of here, what it logs is in the
        # log of the run.
        here = contextvars.copy_context()
        self._thread = threading.Thread(
            target=here.run, args=(self._work, parent), name="daskcast-tracking", daemon=True
        )
        self._thread.start()

    def told(self) -> dict[str, Any]:
        """Tell where and how the run is tracked, as ``run.json`` keeps it."""
        return {**asdict(self._tracker.info), "asked": self._asked, "detail": self._detail}

    def wait_until_open(self, on_progress: Callable[[int, int], None] | None = None) -> bool:
        """Wait until the parent run is open, or cannot be: a store that is away is not waited for.

        Parameters
        ----------
        on_progress : callable, optional
            As of :meth:`close`.

        Returns
        -------
        bool
            False where tracking is off because the store cannot be used.
        """
        self._end = time.monotonic()
        self._nothing_else.set()
        while self._thread is not None and not self._opened.wait(_TICK_S) and not self._given_up:
            self._tick(on_progress)
        return bool(self._parent_id)

    def batch_done(self, batch: str, n_entities: int = 0) -> None:
        """Take note that a batch is durable in the run folder. Returns at once.

        Parameters
        ----------
        batch : str
        n_entities : int
            In the batch, for the progress of :meth:`close`.
        """
        self._n_expected += n_entities
        if self._thread is not None and not self._stopped:
            self._queue.put(batch)

    def close(
        self,
        status: RunStatus = RunStatus.FINISHED,
        metrics: Mapping[str, float] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        history: Sequence[MetricPoint] = (),
    ) -> TrackingSummary:
        """Send what is left, end the parent run, and say what became of it.

        Parameters
        ----------
        status : RunStatus
        metrics : mapping of str to float, optional
            Of the parent, besides counts and aggregates: such as the seconds of each stage.
        on_progress : callable, optional
            Called with the children sent and the children expected, a few times a second.
        history : sequence of MetricPoint
            Of the parent, by time.

        Returns
        -------
        TrackingSummary
        """
        self._nothing_else.set()
        if self._thread is not None and self._thread.is_alive() and not self._given_up:
            self._queue.put(_End(status, metrics or {}, history))
            self._beat = time.monotonic()
            self._wait(self._thread, on_progress)
        self._tell_refusals()
        return TrackingSummary(
            info=self._tracker.info,
            n_sent=self._n_sent,
            n_failed=self._n_missing(),
            stopped=self._stopped,
            seconds=time.monotonic() - self._began,
            cpu_s=self._cpu_s,
        )

    def _wait(
        self, thread: threading.Thread, on_progress: Callable[[int, int], None] | None
    ) -> None:
        while thread.is_alive() and not self._given_up:
            thread.join(_TICK_S)
            self._tick(on_progress)

    def _tick(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Tell how far it is, and wait no more for a thread that hangs in the store."""
        if on_progress is not None:
            on_progress(self._n_sent, max(self._n_expected, self._n_sent))
        now = time.monotonic()
        if now - self._beat > self._patience_s:
            self.give_up(f"the store took nothing for {self._patience_s:.0f} seconds")
        elif self._silence and not self._opened.is_set() and now - self._end > LAST_S:
            self.give_up(self._silence)

    def give_up(self, why: str) -> None:
        """Stop tracking, and wait no more for the thread: once the store lets it go on, it ends.

        Parameters
        ----------
        why : str
        """
        self._given_up = True
        self._stop(why)
        self._nothing_else.set()
        self._queue.put(_End(RunStatus.KILLED, {}, ()))  # it lets go of the folder as well

    def _work(self, parent: ParentRun) -> None:
        """Be the one who tracks this folder: all that the thread does."""
        self._guarded(self._send_all, parent)
        self._opened.set()
        self._cpu_s += time.thread_time()

    def _send_all(self, parent: ParentRun) -> None:
        """Open the parent run, then send batch after batch."""
        with only_one(self._folder.url, "tracking", wait_s=LOCK_WAIT_S):
            self._beat = time.monotonic()
            self._parent_id = self._guarded(self._open_in_time, parent) or ""
            self._beat = time.monotonic()
            self._opened.set()
            if self._parent_id:
                for item in made_ahead(self._queue, self._made):
                    self._beat = time.monotonic()
                    if not self._stopped:
                        self._guarded(self._handle, item)

    def _open_in_time(self, parent: ParentRun) -> str:
        """Open the parent run, before the work ends: a server may start later than a run."""
        level = logging.WARNING
        while True:
            self._beat = time.monotonic()
            try:
                return self._open(parent)
            except TrackingError as error:
                if not error.may_pass or self._nothing_else.is_set():
                    raise
                logger.log(level, "%s; it is asked again while the run works", error)
                level = logging.DEBUG
                self._silence = str(error)
                # What was asked for may have been done, though no answer came.
                parent = replace(parent, resumed=True)
                if self._nothing_else.wait(AGAIN_S):
                    raise

    def _open(self, parent: ParentRun) -> str:
        """Open the parent run; warn of a run for each trial where each is sent by itself."""
        run_id = self._tracker.start(parent)
        if self._detail == "trial" and self._tracker.requests_per_run >= 1:
            logger.warning(
                "--track-detail trial sends about %s requests to the tracking store, one run for "
                "each trial; entity sends about %s and keeps the losses of the trials as a metric",
                f"{n_requests(self._n_entities, self._n_trials, detail='trial'):,}",
                f"{n_requests(self._n_entities, self._n_trials):,}",
            )
        return run_id

    def _guarded(self, step: Callable[[_A], _T], argument: _A) -> _T | None:
        """Do a step; whatever goes wrong in it stops tracking, and nothing else."""
        try:
            return step(argument)
        except (TrackingError, StoreError) as error:
            self._stop(str(error))
        # A tracker is other people's code on other people's servers: whatever it raises must
        # not reach the forecasts.
        except Exception as error:  # noqa: BLE001
            self._stop(f"{type(error).__name__}: {error}")
        return None

    def _handle(self, item: Future[_Made] | _End) -> None:
        if isinstance(item, _End):
            self._finish(item)
            return
        self._send_batch(item.result())

    def _made(self, batch: str) -> _Made:
        """Read a batch, and make the runs of its entities."""
        began = time.thread_time()
        entities = self._folder.read("entities", [batch], columns=ENTITY_COLUMNS)
        children = [] if self._detail == "summary" else self._children(batch, entities)
        return _Made(entities, children, time.thread_time() - began)

    def _children(self, batch: str, entities: pa.Table) -> list[ChildRun]:
        trials = self._folder.read("trials", [batch], columns=TRIAL_COLUMNS)
        began = self._folder.began(batch).items()
        # A clock may have gone back meanwhile: no child begins before its parent.
        after_ms = {int(attempt): max(ms - self._start_ms, 0) for attempt, ms in began}
        return child_runs(entities, trials, self._parent_id, detail=self._detail, after_ms=after_ms)

    def _send_batch(self, made: _Made) -> None:
        self._aggregates.add(made.entities)
        self._cpu_s += made.cpu_s
        # Each of them is a sign of life: of as many runs, where trials are runs.
        n_runs = 1 + max((len(child.trials) for child in made.children), default=0)
        group = max(self._tracker.n_at_once // n_runs, 1)
        for at in range(0, len(made.children), group):
            self._account(self._tracker.log_children(made.children[at : at + group]))
            if self._stopped:
                return

    def _account(self, delivery: Delivery) -> None:
        self._beat = time.monotonic()
        self._n_sent += delivery.sent
        self._refused += delivery.refused
        self._cpu_s += delivery.cpu_s
        if delivery.stopped:
            self._stop(delivery.stopped)

    def _finish(self, end: _End) -> None:
        metrics = {**self._aggregates.metrics(), **end.metrics}
        found = self._beating(artifacts(self._folder.url))
        self._tracker.finish(end.status, metrics, found, end.history)
        self._beat = time.monotonic()

    def _beating(self, found: Iterable[Artifact]) -> Iterator[Artifact]:
        for artifact in found:
            self._beat = time.monotonic()
            yield artifact

    def _stop(self, why: str) -> None:
        """Stop tracking for good, with one warning."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = redact(why)
        if not self._advises:
            return
        logger.warning(
            "tracking stopped: %s. The forecasts are not affected: they are in %s. Once the store "
            "can be reached, `daskcast track %s` sends what is missing, with --tracking-uri to "
            "another store; --no-tracking does without.",
            self._stopped,
            redact(self._folder.url),
            shlex.quote(printable(redact(self._folder.url))),
        )

    def _tell_refusals(self) -> None:
        if self._refused and not self._stopped:
            name, why = self._refused[0]
            logger.warning(
                "the tracking store refused %d of %d entities, the first of them %r: %s. Their "
                "forecasts are in %s like all others.",
                len(self._refused),
                len(self._refused) + self._n_sent,
                shorten(name, MAX_SHOWN),
                why,
                redact(self._folder.url),
            )

    def _n_missing(self) -> int:
        if self._detail == "summary":
            return 0
        unsent = self._n_expected - self._n_sent if self._stopped else 0
        return max(len(self._refused), unsent)
