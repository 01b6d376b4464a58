"""What a run tells on its way and at its end.

Covers counts, progress, the summary and the clock of a run. Does not cover the run itself
(``pipeline``) or how any of it looks on a terminal (``cli``).
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from daskcast.store import RunFolder
    from daskcast.tracking import TrackingSummary


@dataclass(frozen=True, slots=True)
class Counts:
    """How the entities of a run ended.

    Parameters
    ----------
    entities : int
        Of the input.
    ok, fallback, failed : int
    batches : int
    """

    entities: int = 0
    ok: int = 0
    fallback: int = 0
    failed: int = 0
    batches: int = 0

    @property
    def done(self) -> int:
        """Entities that came to an end, whichever."""
        return self.ok + self.fallback + self.failed

    def plus(self, batch: Any) -> Counts:
        """Add a receipt, or the marker of a finished batch."""
        return Counts(
            entities=self.entities,
            ok=self.ok + batch.n_ok,
            fallback=self.fallback + batch.n_fallback,
            failed=self.failed + batch.n_failed,
            batches=self.batches + 1,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Parameters
    ----------
    stage : str
    counts : Counts
    n_before : int
        Entities that an earlier, resumed run had finished.
    seconds : float
        Since the work began.
    n_tracked : int
        Entities that the tracking store has taken; told in the last stage.
    """

    stage: str
    counts: Counts
    n_before: int = 0
    seconds: float = 0.0
    n_tracked: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What became of a run.

    Parameters
    ----------
    folder : RunFolder
    counts : Counts
    seconds : mapping
        As in ``run.json``: ``total``, and by stage the ``wall`` and ``cpu`` seconds of this
        process; ``workers`` has the CPU seconds of the work itself.
    tracking : TrackingSummary or None
    """

    folder: RunFolder
    counts: Counts
    seconds: Mapping[str, Any]
    tracking: TrackingSummary | None = None


class Clock:
    """Wall and CPU seconds of this process by stage, CPU seconds of the work by its own stages."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self.workers: dict[str, float] = {}
        self._on_stage = on_stage
        self._start = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage; the same name again adds nothing, the last one counts."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._on_stage(name)
        try:
            yield
        finally:
            self.stages[name] = {
                "wall": round(time.perf_counter() - wall, 3),
                "cpu": round(time.process_time() - cpu, 3),
            }

    def add_work(self, cpu_s: Mapping[str, float]) -> None:
        """Add the CPU seconds of one batch."""
        for name, spent in cpu_s.items():
            self.workers[name] = self.workers.get(name, 0.0) + spent

    def to_dict(self) -> dict[str, Any]:
        """Give the seconds as ``run.json`` has them."""
        workers = {name: round(spent, 3) for name, spent in self.workers.items()}
        total = round(time.perf_counter() - self._start, 3)
        return {"total": total, **self.stages, "workers": workers}
