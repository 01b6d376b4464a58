"""A run from data to report: the order of the stages.

Covers :func:`run`, with one method for each of its stages. Does not cover what happens in a stage,
each of which has modules of its own, what a run tells on its way and at its end (``progress``), or
what a run would cost (``plan``).

Stages: check, read, cluster, warm-up, folder, work, report, tracking. What a batch produced is in
the run folder before it counts; all later stages read it there, and so does a run that goes on. The
tracking store is opened and written to in a thread of its own, from the work on.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast import logs
from daskcast.apart import Limits
from daskcast.cluster import current_client, memory_of_slot, n_slots, open_cluster, pod_logs
from daskcast.config import MODELS
from daskcast.engine import run_batches
from daskcast.errors import StoppedError, StoreError
from daskcast.out import folder_of
from daskcast.panel import open_source
from daskcast.progress import Clock, Counts, Progress, RunSummary
from daskcast.reach import check_reading, shares
from daskcast.redact import redact_uri, redacted_tags
from daskcast.remaining import Remaining
from daskcast.report import write_report
from daskcast.run_logs import keep_logs, keep_logs_of_pods
from daskcast.store import Hold, RunFolder, check_same, only_one, roll_call
from daskcast.store.files import absolute
from daskcast.tracking import (
    RunStatus,
    TrackingWriter,
    noted,
    open_tracker,
    parent_from,
    usage_points,
)
from daskcast.usage import Usage
from daskcast.versions import other_versions, own_versions
from daskcast.work import BatchWork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from distributed import Client

    from daskcast.config import ForecastConfig, RunOptions
    from daskcast.engine import Scheduler
    from daskcast.records import BatchReceipt
    from daskcast.store import Marker
    from daskcast.tracking import Tracker, TrackingSummary

logger = logging.getLogger(__name__)

MEMORY_SHARE = 0.8
"""Of what a worker may hold: the most that one entity may, where it is worked on apart."""

LOCK_WAIT_S = 10.0
"""How long a run waits for another that is ending, or whose workers are, in the same folder."""

N_LOGGED = 10_000
"""Most records kept of this process."""


def run(
    data: object,
    config: ForecastConfig,
    options: RunOptions,
    *,
    client: Client | None = None,
    tracker: Tracker | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> RunSummary:
    """Forecast every entity of some data into a run folder.

    Parameters
    ----------
    data : path or data frame
        See :func:`daskcast.panel.open_source`. A known source is forecast without a search.
    config : ForecastConfig
    options : RunOptions
        See :func:`daskcast.out.folder_of` for ``out``.
    client : distributed.Client, optional
        Used instead of what ``options.cluster`` names.
    tracker : Tracker, optional
        Used instead of what ``options.tracking_uri`` names.
    on_progress : callable, optional
        Called in this thread at the start of each stage and after each batch.

    Returns
    -------
    RunSummary

    Raises
    ------
    DataError, ConfigError, StoreError, ClusterError
        Before any work is done, with every problem found.
    StoppedError
        The run did not come to its end; the same with ``resume`` goes on.
    """
    stages = _Stages(config, options, on_progress or (lambda _progress: None))
    with logs.capture(n_per_entity=N_LOGGED) as records:
        try:
            return stages.go_through(data, client, tracker)
        except OSError as error:
            raise StoppedError(f"{stages.url} could not be written or read: {error}") from error
        finally:
            if stages.folder is not None:
                keep_logs(stages.folder, records)


class _Stages:
    """The stages of one run, and what they hand on to each other."""

    def __init__(
        self,
        config: ForecastConfig,
        options: RunOptions,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.config = config
        self.options = options
        self.on_progress = on_progress
        self.clock = Clock(self._enter_stage)
        self.url = folder_of(options)
        self.name = self.url.rstrip("/").rpartition("/")[2]
        self.goes_on = options.resume or options.retry_failed or self.is_begun()
        self.tags = redacted_tags(options.tags)
        self.stage = ""
        self.counts = Counts()
        self.n_batches = 0
        self.n_before = self.n_tracked = 0
        self.work_began: float | None = None
        self.finished: Mapping[str, Marker] = {}
        self.told: set[str] = set()
        self.known: set[str] = set()
        self.folder: RunFolder | None = None
        self.hold = Hold()
        self.read_pods: Callable[[], Mapping[str, Sequence[Mapping[str, Any]]]] = dict
        self.writer: TrackingWriter | None = None
        self.tracked: TrackingSummary | None = None

    def go_through(
        self, data: object, client: Client | None, tracker: Tracker | None
    ) -> RunSummary:
        """Do one stage after the other; what was opened is closed, whatever happens."""
        with self.clock.stage("check"):
            check_models(self.config)
            tracker = tracker or open_tracker(self.options)
            self.look_for_run()
        with logs.bound(run=self.name), ExitStack() as alone, ExitStack() as tracking:
            if self.goes_on:
                self.be_the_only_one(alone)
            with self.clock.stage("read"):
                self.read(data)
            try:
                with ExitStack() as cluster:
                    scheduler = self.open_cluster(client, cluster)
                    self.open_folder()
                    if not self.goes_on:
                        self.be_the_only_one(alone)
                    self.start_tracking(tracker, tracking)
                    self.work(scheduler)
            except StoppedError as error:
                raise StoppedError(f"{error}; {self.kept()}") from error
            finally:  # before the end of tracking, which keeps the logs as well
                if self.folder is not None:
                    keep_logs_of_pods(self.folder, self.read_pods())
            self.finish()
            tracking.pop_all()
            self.close_tracking(RunStatus.FINISHED)
        assert self.folder is not None
        return RunSummary(self.folder, self.counts, self.clock.to_dict(), self.tracked)

    # -- before the work --

    def is_begun(self) -> bool:
        """Tell whether there is a run to go on with, where the options leave it open."""
        return self.options.resume_if_begun and RunFolder.is_at(self.url)

    def look_for_run(self) -> None:
        """Open the run to go on with; refuse early a folder that holds one."""
        if self.goes_on:
            self.folder = RunFolder.open(self.url)
        else:
            refuse_held(self.url)  # creating the folder has the last word

    def be_the_only_one(self, stack: ExitStack) -> None:
        """Keep others from this folder; what they did until now is seen."""
        self.hold = stack.enter_context(only_one(self.url, "forecasting", wait_s=LOCK_WAIT_S))
        if self.goes_on:
            self.folder = RunFolder.open(self.url)

    def read(self, data: object) -> None:
        self.source = open_source(data, self.config)
        self.about_data = self.source.describe()
        if isinstance(data, str | os.PathLike):
            self.about_data["path"] = absolute(data)
        self.counts = Counts(entities=len(self.source.ids))
        self.left = Remaining.all_of(self.source)
        logger.info("read %d rows of %d entities", self.source.n_rows, self.counts.entities)
        if self.folder is not None:
            self.resume(self.folder)

    def resume(self, folder: RunFolder) -> None:
        problems = check_same(folder.manifest, self.config.to_dict(), self.about_data)
        if problems:
            raise StoreError(*[f"{told}; resume with the same, or start anew" for told in problems])
        self.tell_other_versions(folder.manifest)
        self.folder = folder = folder.claimed()
        n_removed = len(folder.clean())
        attempt = folder.manifest.get("attempt", 1) + self.options.retry_failed
        self.left = self.look_for_rest(folder, attempt)
        self.known = set(self.finished)
        self.counts = self.counts.without(self.left.before, n_batches=len(self.left.again))
        self.n_before = self.counts.done
        logger.info(
            "resumed, attempt %d: %d entities are done, %d are left, %d of them done before; "
            "removed %d files that did not count",
            attempt,
            self.n_before,
            len(self.left),
            sum(self.left.before.values()),
            n_removed,
        )

    def tell_other_versions(self, manifest: Mapping[str, Any]) -> None:
        """Warn where other packages go on with a run than began it: the last digits may differ."""
        others = other_versions(manifest["versions"])
        if others:
            logger.warning(
                "the run began with other versions: %s; the entities that are left may come out "
                "otherwise than they would have",
                "; ".join(others),
            )

    def look_for_rest(self, folder: RunFolder, attempt: int) -> Remaining:
        """See what is left; of batches that share an entity, one stays."""
        self.recount(folder)
        left = Remaining.of(folder, sorted(self.finished), self.source, attempt)
        if not left.doubled:
            return left
        logger.warning(
            "batches %s hold entities that others hold, too: tasks of a driver that was gone wrote "
            "them; they are taken back, and what is missing then is done again",
            ", ".join(left.doubled[:10]),
        )
        folder.drop(left.doubled)
        return self.look_for_rest(folder, attempt)

    def recount(self, folder: RunFolder) -> None:
        """Count what is durable, told or not."""
        self.finished = folder.finished()
        self.counts = Counts(entities=self.counts.entities)
        for marker in self.finished.values():
            self.counts = self.counts.plus(marker)

    def open_cluster(self, client: Client | None, stack: ExitStack) -> Scheduler | None:
        """Open who computes; nobody where nothing is left."""
        if not len(self.left):
            return None
        with self.clock.stage("cluster"):
            if client is None and self.options.cluster is None:
                client = current_client()
            scheduler = stack.enter_context(
                open_cluster(self.options, client, on_warm_up=lambda: self.clock.turn_to("warm-up"))
            )
            self.read_pods = pod_logs(scheduler)
            check_reading(scheduler, self.source.select(np.array([0])))
            return scheduler

    def open_folder(self) -> None:
        with self.clock.stage("folder"):
            if self.folder is None:
                self.manifest = self.first_manifest()
                self.folder = RunFolder.create(self.url, self.manifest).claimed()
            else:
                self.manifest = self.folder.manifest
                self.manifest["tags"] = {**self.manifest.get("tags", {}), **self.tags}
                if self.left.again:
                    self.manifest["attempt"] = self.left.attempt
                    self.write_manifest()

    def first_manifest(self) -> dict[str, Any]:
        one = self.source.select(np.array([0])).load()
        times = "timestamp" if one.times.dtype.kind == "M" else "integer"
        return {
            "config": self.config.to_dict(),
            "data": {**self.about_data, "times": times},
            "versions": own_versions(),
            "attempt": self.left.attempt,
            "counts": asdict(self.counts),
            "seconds": {},
            "tags": self.tags,
            "mlflow": {},
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }

    # -- tracking --

    def start_tracking(self, tracker: Tracker | None, stack: ExitStack) -> None:
        stack.callback(self.close_tracking, RunStatus.KILLED)
        if tracker is None or self.folder is None:
            return
        self.writer = TrackingWriter(tracker, self.folder, detail=self.options.track_detail)
        self.writer.start(
            parent_from(self.manifest, name=self.name, now=self.writer.info, resumed=self.goes_on),
            n_entities=self.counts.entities,
            n_trials=self.config.trials,
        )
        for name, marker in self.finished.items():
            if name not in self.left.again:
                self.told.add(name)
                self.writer.batch_done(name, marker.n_entities)

    def close_tracking(self, status: RunStatus) -> None:
        """Send what is left; afterwards the manifest knows all there is to know."""
        write_manifest = self.write_manifest if status == RunStatus.FINISHED else self.try_manifest
        if self.writer is not None:
            with self.clock.stage("tracking"):
                # Before the end, which keeps the manifest with the run: it names that run.
                self.writer.wait_until_open(self.tell_tracked)
                write_manifest()
                seconds = {f"seconds_{name}": s["wall"] for name, s in self.clock.stages.items()}
                used = usage_points(self.manifest.get("usage", ()))
                self.tracked = self.writer.close(status, seconds, self.tell_tracked, used)
                self.manifest["mlflow"] = noted(self.manifest["mlflow"], self.writer.told())
            logger.info(
                "tracked %d entities, not tracked %d", self.tracked.n_sent, self.tracked.n_failed
            )
        write_manifest()

    # -- the work --

    def work(self, scheduler: Scheduler | None) -> None:
        if scheduler is None or self.folder is None:
            return
        with self.clock.stage("work"):
            self.work_began = time.perf_counter()
            shared = shares(scheduler, self.folder)
            limits = Limits(
                self.options.entity_timeout, round(MEMORY_SHARE * memory_of_slot(scheduler))
            )
            work = BatchWork(self.folder, self.config, self.name, stores=shared, limits=limits)
            batches = self.left.batches(
                self.source,
                n_workers=n_slots(scheduler),
                batch_size=self.options.batch_size,
                first=1 + max([self.manifest.get("last_batch", 0), *map(_number, self.finished)]),
            )
            self.known.update(batches.names)
            # Whoever goes on gives none of these names again: a task of ours may end later.
            self.manifest["last_batch"] = max(map(_number, self.known))
            self.write_manifest()
            self.n_batches = len(self.finished) + len(batches) - len(self.left.again)
            started = datetime.fromisoformat(self.manifest["started"]).timestamp()
            usage = Usage(started, self.manifest.get("usage"))
            self.manifest["usage"] = usage.samples

            def on_receipt(receipt: BatchReceipt) -> None:
                usage.sample(scheduler)
                self.on_receipt(receipt)

            try:
                run_batches(batches, work, scheduler, on_receipt)
            except StoppedError as error:
                if isinstance(error.__cause__, KeyboardInterrupt) or not self.all_is_kept():
                    raise
                logger.warning("%s; but every batch is finished and kept: the run goes on", error)
            else:
                usage.sample(scheduler, now=True)

    def all_is_kept(self) -> bool:
        """Look whether nothing is left; if so, take note of batches that nobody told of."""
        assert self.folder is not None
        if len(self.look_for_rest(self.folder, self.left.attempt)):
            return False
        self.known = set(self.finished)
        for name, marker in self.finished.items():
            if self.writer is not None and name not in self.told:
                self.writer.batch_done(name, marker.n_entities)
        return True

    def on_receipt(self, receipt: BatchReceipt) -> None:
        self.told.add(receipt.batch)
        self.counts = self.counts.plus(receipt)
        self.clock.add_work(receipt.cpu_s)
        if self.writer is not None:
            self.writer.batch_done(receipt.batch, receipt.n_entities)
            if self.writer.info.run_id and not self.manifest["mlflow"].get("run_id"):
                self.write_manifest()  # however the run ends, it can be resumed under its parent
        self.tell()
        self.hold.check()

    def kept(self) -> str:
        """Say what a stopped run leaves: batches may have finished after the last was told."""
        assert self.folder is not None
        self.recount(self.folder)
        counts = self.counts
        told = (
            f"{counts.batches:,} of {self.n_batches:,} batches are finished and kept, "
            f"{counts.done:,} of {counts.entities:,} entities"
        )
        if not self.left.again:
            return told
        left = Remaining.of(self.folder, sorted(self.finished), self.source, self.left.attempt)
        return f"{told}; {sum(left.before.values()):,} of them are left to be done again"

    def finish(self) -> None:
        """Check that every entity has come to exactly one end; write the manifest and the page."""
        assert self.folder is not None
        with self.clock.stage("report"):
            self.drop_strangers(self.folder)
            n_rows, n_others = roll_call(self.folder, self.source.ids)
            assert not n_others, f"{n_others} rows of the run folder are of other entities"
            assert np.all(n_rows == 1), (
                f"{len(n_rows)} entities went in, {np.count_nonzero(n_rows)} are in the run "
                f"folder, {np.count_nonzero(n_rows > 1)} of them more than once"
            )
            self.write_manifest()
            write_report(self.folder, self.source)

    def drop_strangers(self, folder: RunFolder) -> None:
        """Take back what a task of an earlier driver wrote meanwhile: this run did it, too."""
        strangers = sorted(set(folder.batches()) - self.known)
        if strangers:
            logger.warning(
                "batches %s came late, from an earlier driver: they are taken back",
                ", ".join(strangers[:10]),
            )
            folder.drop(strangers)

    # -- telling --

    def write_manifest(self) -> None:
        if self.folder is not None and not self.hold.taken:  # else it is the other's
            self.manifest["counts"] = asdict(self.counts)
            self.manifest["seconds"] = self.clock.to_dict()
            if self.writer is not None and self.writer.info.run_id:
                self.manifest["mlflow"] = self.writer.told()
            self.folder.write_manifest(self.manifest)

    def try_manifest(self) -> None:
        try:
            self.write_manifest()
        except OSError as error:  # what stopped the run matters more
            logger.warning("run.json is not up to date: %s", error)

    def _enter_stage(self, name: str) -> None:
        self.stage = name
        self.tell()

    def tell_tracked(self, n_sent: int, _n_expected: int) -> None:
        self.n_tracked = n_sent
        self.tell()

    def tell(self) -> None:
        began = self.work_began
        seconds = 0.0 if began is None else time.perf_counter() - began
        self.on_progress(Progress(self.stage, self.counts, self.n_before, seconds, self.n_tracked))


def refuse_held(url: str) -> None:
    """Refuse early a folder that holds a run.

    Raises
    ------
    StoreError
    """
    if RunFolder.is_at(url):
        raise StoreError(
            f"the folder {redact_uri(absolute(url))} holds a run; give another folder, or go on "
            f"with that run: --resume (in a call resume=True)"
        )


def check_models(config: ForecastConfig) -> None:
    """Refuse early what is no model; the package's own names are known without importing them."""
    if all(isinstance(model, str) and model in MODELS for model in config.models):
        return
    from daskcast.models import families  # noqa: PLC0415 - heavy

    families(config.models)


def _number(batch: str) -> int:
    return int(batch.removeprefix("b"))
