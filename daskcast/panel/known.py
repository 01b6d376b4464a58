"""A panel that was fitted before: its rows, and what the fit left of each entity.

Covers the source that a pipeline forecasts without a search, and giving a batch its share. Does not
cover how recipes are made (``tune``), or saved (``bundle``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from daskcast.panel.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.panel.rows import Ints, Source
    from daskcast.records import Kept


@dataclass(frozen=True)
class KnownSource(MemorySource):
    """Rows in memory of entities that were fitted before; see :class:`daskcast.panel.Source`.

    Parameters
    ----------
    kept : mapping of str to Kept
        By id; every entity has one.
    """

    kept: Mapping[str, Kept] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the rows and of what was kept: a search over the same rows is another run."""
        digest = hashlib.blake2b(self.rows.digest().encode(), digest_size=16)
        for unique_id in self.ids:
            digest.update(repr(self.kept[unique_id]).encode())
        return digest.hexdigest()


def kept_of(source: Source, positions: Ints) -> dict[str, Kept] | None:
    """Give what was kept of the entities at some positions of ``source.ids``.

    Parameters
    ----------
    source : Source
    positions : ndarray of int64

    Returns
    -------
    dict or None
        By id; None where the source was not fitted before, so that its entities are searched.
    """
    if not isinstance(source, KnownSource):
        return None
    return {source.ids[i]: source.kept[source.ids[i]] for i in positions}
