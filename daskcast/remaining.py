"""What a run has left to do, and the batches of it.

Covers entities that no finished batch has, those that are done again, and their batches, each made
when it is asked for. Does not cover who works on them (``engine``) or what is durable (``store``).

Every entity has the number of the attempt that made its row. A pass of ``--retry-failed`` is the
next attempt of the whole run: an entity whose row is not good and of an attempt before is left to
do, so that a pass that was stopped goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.panel import kept_of
from daskcast.partition import pack
from daskcast.records import Status
from daskcast.work import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from daskcast.panel import Source
    from daskcast.store import RunFolder

    Positions = NDArray[np.int64]

_COLUMNS = ["unique_id", "batch", "status", "attempt"]


@dataclass(frozen=True, slots=True)
class Remaining:
    """Positions in the source of the entities that are left.

    Parameters
    ----------
    missing : ndarray of int64
        In no finished batch.
    again : mapping of str to ndarray of int64
        Done again within a finished batch, by its name.
    attempt : int
        Which attempt this is.
    before : mapping of str to int
        How those that are done again ended before: entities by status.
    doubled : tuple of str
        Batches with an entity that another batch has, too.
    """

    missing: Positions
    again: Mapping[str, Positions] = field(default_factory=dict)
    attempt: int = 1
    before: Mapping[str, int] = field(default_factory=dict)
    doubled: tuple[str, ...] = ()

    @classmethod
    def all_of(cls, source: Source) -> Remaining:
        """All entities: of a new run."""
        return cls(np.arange(len(source.ids)))

    @classmethod
    def of(
        cls, folder: RunFolder, finished: Sequence[str], source: Source, attempt: int
    ) -> Remaining:
        """Look for what a run that goes on has left.

        Parameters
        ----------
        folder : RunFolder
        finished : sequence of str
            Names of the batches that count.
        source : Source
            Entities without a row are left.
        attempt : int
            Entities that are not ok, of an attempt before this, are left as well.
        """
        rows = folder.read("entities", finished, columns=_COLUMNS)
        bad = pc.and_(
            pc.not_equal(rows["status"], str(Status.OK)), pc.less(rows["attempt"], attempt)
        )
        ids = pa.array(source.ids, rows.schema.field("unique_id").type)
        found = np.asarray(pc.is_in(ids, rows["unique_id"].combine_chunks()))
        redone = rows.filter(bad)
        places = pc.index_in(redone["unique_id"], ids).to_pylist()
        again: dict[str, list[int]] = {}
        for batch, place in zip(redone["batch"].to_pylist(), places, strict=True):
            again.setdefault(batch, []).append(place)
        return cls(
            np.flatnonzero(~found).astype(np.int64),
            {name: np.array(sorted(of_batch), np.int64) for name, of_batch in again.items()},
            attempt,
            Counter(redone["status"].to_pylist()),
            _doubled(rows),
        )

    def __len__(self) -> int:
        """Entities that are left."""
        return len(self.missing) + sum(len(of_batch) for of_batch in self.again.values())

    def batches(
        self, source: Source, *, n_workers: int, batch_size: int | None, first: int
    ) -> Batches:
        """Pack what is left: new batches, after those that are amended.

        Parameters
        ----------
        source : Source
        n_workers : int
        batch_size : int or None
            As of :func:`daskcast.partition.pack`.
        first : int
            Number of the first new batch.
        """
        packed = pack(source.sizes[self.missing], n_workers=n_workers, batch_size=batch_size)
        named = [(name, at, True) for name, at in self.again.items()]
        named += [
            (f"b{first + i:05d}", self.missing[chosen], False) for i, chosen in enumerate(packed)
        ]
        return Batches(source, named, self.attempt)


def _doubled(rows: pa.Table) -> tuple[str, ...]:
    """Name the batches with an entity that one of a lower name has, too."""
    if pc.count_distinct(rows["unique_id"]).as_py() == len(rows):
        return ()
    frame = rows.select(["unique_id", "batch"]).to_pandas()
    first = frame.groupby("unique_id")["batch"].transform("min")
    return tuple(sorted(frame.loc[frame["batch"] != first, "batch"].unique()))


class Batches(Sequence[Batch]):
    """Batches, each made when it is asked for.

    Parameters
    ----------
    source : Source
    named : sequence of (str, ndarray of int64, bool)
        Name of each batch, the positions of its entities, whether it amends.
    attempt : int
    """

    def __init__(
        self, source: Source, named: Sequence[tuple[str, Positions, bool]], attempt: int
    ) -> None:
        self._source = source
        self._named = named
        self._attempt = attempt

    def __len__(self) -> int:
        return len(self._named)

    @property
    def names(self) -> list[str]:
        """Names of all, without making them."""
        return [name for name, _, _ in self._named]

    @overload
    def __getitem__(self, at: int) -> Batch: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Batch]: ...
    def __getitem__(self, at: int | slice) -> Batch | Sequence[Batch]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        name, chosen, amends = self._named[at]
        return Batch(
            name,
            self._source.select(chosen),
            len(chosen),
            attempt=self._attempt,
            kept=kept_of(self._source, chosen),
            amends=amends,
        )
