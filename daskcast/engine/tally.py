"""Which batches of a run are done, and which raised.

Covers telling each batch once, checking that no entity is lost, and what a run raises at its end.
Does not cover who did the work.
"""

from __future__ import annotations

import logging
import textwrap
from typing import TYPE_CHECKING

from daskcast.errors import ConfigError, DataError, StoppedError, StoreError
from daskcast.work import Computed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daskcast.records import BatchReceipt
    from daskcast.work import Batch

    OnReceipt = Callable[[BatchReceipt], None]

logger = logging.getLogger(__name__)

FINAL = (ConfigError, DataError, StoreError)
"""Errors of a batch that doing it again cannot mend."""


class Tally:
    """Which batches are done, which raised; checks that no entity is lost."""

    def __init__(self, n_batches: int, on_receipt: OnReceipt) -> None:
        self._waiting: dict[str, Batch] = {}
        self._on_receipt = on_receipt
        self._n_batches = n_batches
        self._n_done = 0
        self._errors: dict[str, BaseException] = {}

    def expect(self, batches: Sequence[Batch]) -> None:
        """Wait for batches that begin; those that begin again count once."""
        self._waiting |= {batch.name: batch for batch in batches}

    @property
    def waiting(self) -> list[Batch]:
        """Batches that began and have no end yet, in their order."""
        return list(self._waiting.values())

    def tell(self, outcomes: Sequence[BatchReceipt | Computed]) -> None:
        """Take what the batches of a part gave."""
        for outcome in outcomes:
            self.done(outcome)

    def done(self, outcome: BatchReceipt | Computed) -> None:
        """Take what a batch gave; store it here where its worker could not."""
        receipt = outcome.store() if isinstance(outcome, Computed) else outcome
        batch = self._waiting.pop(receipt.batch)
        self._n_done += 1
        told = receipt.n_ok + receipt.n_fallback + receipt.n_failed
        assert told == receipt.n_entities == batch.n_entities, (
            f"batch {batch.name} took {batch.n_entities} entities and gave back {told}"
        )
        self._on_receipt(receipt)

    def raised(self, name: str, error: BaseException) -> None:
        """Take note of a batch that raised: the others go on."""
        if isinstance(error, StoppedError):  # of a full disk: what is computed cannot be kept
            raise error
        del self._waiting[name]
        self._errors[name] = error
        # a full disk needs no traceback, a fault of the code does
        trace = None if isinstance(error, OSError) else error
        logger.error("batch %s raised %r", name, error, exc_info=trace)

    def finish(self) -> None:
        """Raise what the tasks raised, if anything; assert that every batch was told."""
        n_ended = self._n_done + len(self._errors)
        assert not self._waiting, f"batches without an end: {sorted(self._waiting)}"
        assert n_ended == self._n_batches, f"{n_ended} of {self._n_batches} batches had an end"
        if not self._errors:
            return
        first = next(iter(self._errors.values()))
        told = [f"batch {name}: {error!r}" for name, error in self._errors.items()]
        final = [error for error in self._errors.values() if isinstance(error, FINAL)]
        if final:
            raise type(final[0])(*dict.fromkeys(p for e in final for p in e.problems)) from first
        raise StoppedError(
            f"{len(told)} of {self._n_batches} batches were not finished: {_some(told)}"
        ) from first


def _some(items: Sequence[str], n_most: int = 5) -> str:
    more = f" and {len(items) - n_most} more" if len(items) > n_most else ""
    return "; ".join(textwrap.shorten(item, 400) for item in items[:n_most]) + more
