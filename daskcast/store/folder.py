"""The run folder: batches that are durable, and the manifest.

Covers writing a batch so that it counts whole or not at all, telling which batches count, the
manifest, and logs. Does not cover columns (``schema``), what a marker says (``marker``), where
bytes go (``files``), reading tables back (``reading``) or finding one entity (``query``).

Order of a batch: parts of the tables and the log, each a whole file; the marker last. What has no
valid marker does not count: a resumed run computes it again. Names of files come from names of
batches, never from ids.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from daskcast.errors import StoreError
from daskcast.logs import redacted_record, to_line
from daskcast.redact import redact_uri
from daskcast.store import amend, claim, query, reading
from daskcast.store import manifest as manifests
from daskcast.store.commit import commit
from daskcast.store.files import absolute, files_at, is_local
from daskcast.store.layout import (
    FOLDERS,
    MANIFEST,
    RUN_LOG,
    batch_names,
    check_name,
    holds_a_run,
    is_orphan,
    marker_of,
    refuse_used,
    verified,
)
from daskcast.store.marker import Marker, Part
from daskcast.store.schema import tables_of, time_kind, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from daskcast.records import EntityResult
    from daskcast.store.files import Files
    from daskcast.store.query import EntityView
    from daskcast.store.schema import Table, TimeKind

logger = logging.getLogger(__name__)

_N_READERS = 16


@dataclass(frozen=True, slots=True, repr=False)
class RunFolder:
    """A run folder, open. Cheap to pickle: each process reaches the files by itself.

    Use :meth:`create` or :meth:`open`; the constructor checks nothing.

    Parameters
    ----------
    url : str
        A path (made absolute) or an fsspec URL.
    levels : tuple of float
        Interval levels of the run.
    times : {"timestamp", "integer"} or None
        Kind of the run's times; None takes it from the results of each batch.
    actual : bool
        Whether forecasts stand beside what came, as those of a backtest do.
    driver : str
        Claim of the driver for whom batches are written, see :meth:`claimed`; without one they are
        written whoever is at work.
    """

    url: str
    levels: tuple[float, ...]
    times: TimeKind | None = None
    actual: bool = False
    driver: str = ""

    def __repr__(self) -> str:
        """Show the place, without credentials."""
        return f"RunFolder({self.place!r})"

    @property
    def place(self) -> str:
        """The path or URL without credentials, for people and messages."""
        return redact_uri(self.url)

    @property
    def files(self) -> Files:
        """The files of the folder."""
        return files_at(self.url)

    @classmethod
    def create(cls, url: str, manifest: Mapping[str, Any]) -> Self:
        """Begin a run in a new folder.

        Parameters
        ----------
        url : str
            A path or an fsspec URL.
        manifest : mapping
            First content of ``run.json``; ``config.level``, ``config.n_windows`` and, where known,
            ``data.times`` (``timestamp`` or ``integer``) decide the columns.

        Raises
        ------
        StoreError
            The folder holds a run, or other files under the names of a run's.
        """
        url = absolute(url)
        folder = cls(url, *manifests.columns_of(manifest))
        try:
            files = folder.files
            files.knock()
            refuse_used(files, folder.place)
            files.make_folders(("", *FOLDERS))
            files.create(MANIFEST, manifests.to_bytes(manifest))
        except FileExistsError as error:
            raise StoreError(holds_a_run(folder.place)) from error
        except OSError as error:
            raise StoreError(f"cannot make the run folder {folder.place}: {error}") from error
        return folder

    @staticmethod
    def is_at(url: str) -> bool:
        """Tell whether a run is there, whole or damaged.

        Raises
        ------
        StoreError
            The place does not answer, lets nobody in, or is of an unknown kind.
        """
        url = absolute(url)
        try:
            files = files_at(url)
            files.knock()
            return files.exists(MANIFEST)
        except OSError as error:
            raise StoreError(f"cannot use the run folder {redact_uri(url)}: {error}") from error

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the folder of a run that exists.

        Raises
        ------
        StoreError
            There is no run, its manifest is damaged, or its format is unknown.
        """
        url = absolute(url)
        return cls(url, *manifests.columns_of(manifests.read(url)))

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of ``run.json``, read now."""
        return manifests.read(self.url)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace ``run.json``; credentials in URIs are removed."""
        self.files.write(MANIFEST, manifests.to_bytes(manifest))

    # -- batches --

    def write_batch(
        self,
        batch: str,
        results: Sequence[EntityResult],
        logs: Sequence[Mapping[str, Any]] = (),
        *,
        began_ms: int | None = None,
    ) -> Marker:
        """Make the results of a batch durable; the marker is written last.

        A batch that is already durable with the same entities and attempts is left as it is, so a
        task that runs twice does no harm; with the same entities at other attempts it is replaced.
        All is read back and checked: where the same task runs twice at once, on two workers, the
        files of the two may have mixed, and are written again.

        Parameters
        ----------
        batch : str
            Letters, digits, ``-`` and ``_``.
        results : sequence of EntityResult
        logs : sequence of mapping
            Records as of :func:`daskcast.logs.capture`.
        began_ms : int, optional
            When the work on them began, in milliseconds since the epoch; None is now.

        Returns
        -------
        Marker

        Raises
        ------
        StoreError
            The name is unusable or belongs to other entities, the run folder is not there, or
            another driver has claimed it.
        OSError
            The place took no more; nothing of this batch counts.
        """
        check_name(batch)
        claim.refuse_late(self, batch)
        files = self.files
        if (old := self._kept(files, batch, results)) is not None:
            return old
        parts = self._parts(batch, results)
        if logs:
            content = _lines(logs)
            parts["logs"] = content, Part.of(content, len(logs))
        described = {table: part for table, (_, part) in parts.items()}
        marker = Marker.of(batch, results, described, _ms(began_ms))
        return commit(files, parts, marker, self.place)

    def amend_batch(
        self,
        batch: str,
        results: Sequence[EntityResult],
        logs: Sequence[Mapping[str, Any]] = (),
        *,
        began_ms: int | None = None,
    ) -> Marker:
        """Put new results of some of its entities into a batch that is durable.

        The rows of all others stay as they are, the logs are added to. A task that runs twice
        does no harm. A crash while the files are written leaves a batch that does not count: a
        resumed run does all of it again.

        Parameters
        ----------
        batch : str
        results : sequence of EntityResult
        logs : sequence of mapping
            Records as of :func:`daskcast.logs.capture`.
        began_ms : int, optional
            When the work on them began, in milliseconds since the epoch; None is now.

        Returns
        -------
        Marker

        Raises
        ------
        StoreError
            The batch does not count, has no such entities, or another driver has claimed the
            folder.
        OSError
            The place took no more.
        """
        claim.refuse_late(self, batch)
        return amend.amend_batch(self, batch, results, _lines(logs), _ms(began_ms))

    def began(self, batch: str) -> Mapping[str, int]:
        """Say when the work of each attempt in a batch began, in milliseconds since the epoch."""
        found = marker_of(self.files, batch)
        return found.began if found is not None else {}

    def _parts(self, batch: str, results: Sequence[EntityResult]) -> dict[str, tuple[bytes, Part]]:
        """Encode the tables; forecasts without rows are left out where their type is unknown."""
        times = self.times or time_kind(results)
        parts = {}
        tables = tables_of(batch, results, self.levels, times or "timestamp", actual=self.actual)
        for name, table in tables.items():
            if name != "forecasts" or times is not None:
                content = to_bytes(table)
                parts[str(name)] = content, Part.of(content, table.num_rows)
        return parts

    def _kept(self, files: Files, batch: str, results: Sequence[EntityResult]) -> Marker | None:
        """Give the marker where this very work is durable already."""
        old = verified(files, batch)
        if old is None:
            return None
        new = Marker.of(batch, results, {})
        if old.ids != new.ids:
            raise StoreError(
                f"batch {batch} of the run folder {self.place} holds other entities; "
                "give a new batch a name of its own"
            )
        if not old.same_work(new):
            return None
        logger.info("batch %s is durable already; what was written first stays", batch)
        return old

    def batches(self) -> list[str]:
        """Name the batches that have a marker, whether they count or not."""
        return batch_names(self.files)

    def finished(self) -> dict[str, Marker]:
        """Give the markers of the batches that count, by name.

        Every part is read and checked; a batch with a part that is missing, cut short or changed
        does not count.
        """
        files = self.files
        names = batch_names(files)
        if is_local(self.url):
            markers = [verified(files, name) for name in names]
        else:
            with ThreadPoolExecutor(_N_READERS) as pool:
                markers = list(pool.map(lambda name: verified(files, name), names))
        return {n: m for n, m in zip(names, markers, strict=True) if m is not None}

    def finished_ids(self) -> set[str]:
        """Give the ids of all entities in batches that count."""
        ids = self.read("entities", sorted(self.finished()), columns=["unique_id"])
        return set(ids.column("unique_id").to_pylist())

    def clean(self) -> list[str]:
        """Remove what does not count: parts and logs without a valid marker, broken markers.

        Only while nobody writes to the folder.

        Returns
        -------
        list of str
            Names of the removed files, relative to the folder.
        """
        files = self.files
        finished = self.finished()
        removed = []
        for folder in FOLDERS:
            for name in files.names(folder):
                if is_orphan(folder, name, finished):
                    files.remove(f"{folder}/{name}")
                    removed.append(f"{folder}/{name}")
        if removed:
            logger.info("removed %d files of unfinished batches: %s", len(removed), removed[:10])
        return removed

    def drop(self, batches: Iterable[str]) -> None:
        """Take batches back: they do not count any more, and their files are removed.

        Parameters
        ----------
        batches : iterable of str
        """
        claim.drop(self.files, batches)

    # -- who works on it? --

    def claimed(self) -> Self:
        """Give the folder to a driver that begins, and to its tasks.

        Dask cannot stop a task that is under way: one of a driver that is gone may end much later.
        Whatever holds an earlier claim writes no batch any more.
        """
        return replace(self, driver=claim.claim(self.files))

    # -- reading --

    def read(
        self,
        table: Table,
        batches: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Read a table of batches that count, each part checked against its marker.

        Parameters
        ----------
        table : {"forecasts", "entities", "trials"}
        batches : sequence of str or None
            Names; None takes all that count.
        columns : sequence of str or None
            Some of the columns.

        Returns
        -------
        pyarrow.Table
            Rows in the order of the batches; the full schema also without rows.

        Raises
        ------
        StoreError
            A batch that was named does not count, or a part of one that has a marker is damaged.
        """
        return reading.read(self, table, batches, columns)

    def entity(self, unique_id: str) -> EntityView:
        """Give all that the run knows of one entity.

        Raises
        ------
        StoreError
            The run has no such entity; the message names near ones.
        """
        return query.entity_view(self, unique_id)

    def write_logs(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Write records that belong to no batch, such as those of the process that leads the run.

        Parameters
        ----------
        name : str
            Letters, digits, ``-`` and ``_``; an earlier log of that name is replaced.
        records : iterable of mapping
        """
        check_name(name)
        self.files.write(f"logs/part-{RUN_LOG}{name}.jsonl", _lines(records))

    def read_logs(
        self, entity: str | None = None, level: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Read what all processes logged, in the order of time.

        Parameters
        ----------
        entity : str or None
            Only of this entity, exactly as it is written.
        level : str or None
            Only from this level on.

        Yields
        ------
        dict
            Keys as of :func:`daskcast.logs.capture`.
        """
        return query.read_logs(self.files, entity, level)


def _ms(moment: int | None) -> int:
    return time.time_ns() // 1_000_000 if moment is None else moment


def _lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(f"{to_line(redacted_record(record))}\n" for record in records).encode()
