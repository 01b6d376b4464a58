"""The commit marker of a batch: what makes its parts count.

Covers a marker's content, its JSON text, and checking bytes against it. Does not cover reading
and writing files (``files``) or what the parts hold (``schema``).

A marker names the size and the digest of every part, and carries a digest of itself: a damaged
marker counts as none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from daskcast.records import EntityResult

FORMAT = 1
"""Version of the layout of a run folder; in ``run.json`` and in every marker."""


def digest(data: bytes) -> str:
    """Give the BLAKE2b digest of some bytes, 16 bytes long, as hexadecimal text."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a batch, as it was written.

    Parameters
    ----------
    size : int
        In bytes.
    blake2b : str
    rows : int
    """

    size: int
    blake2b: str
    rows: int

    @classmethod
    def of(cls, data: bytes, rows: int) -> Part:
        """Describe the bytes of a part."""
        return cls(len(data), digest(data), rows)

    def matches(self, data: bytes) -> bool:
        """Tell whether these are the bytes that were written."""
        return len(data) == self.size and digest(data) == self.blake2b


@dataclass(frozen=True, slots=True)
class Marker:
    """What a finished batch holds.

    Parameters
    ----------
    batch : str
    n_entities, n_ok, n_fallback, n_failed, n_trials : int
    ids : str
        Digest of the ids, in their order.
    attempts : str
        Digest of the attempts, in the same order.
    parts : mapping of str to Part
        By the name of the table, or ``logs``.
    began : mapping of str to int
        When the work of each attempt at some of its entities began, in milliseconds since the
        epoch. It stays as it was first written.
    """

    batch: str
    n_entities: int
    n_ok: int
    n_fallback: int
    n_failed: int
    n_trials: int
    ids: str
    attempts: str
    parts: Mapping[str, Part]
    began: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        batch: str,
        results: Sequence[EntityResult],
        parts: Mapping[str, Part],
        began_ms: int = 0,
    ) -> Marker:
        """Describe the results of a batch and the parts they were written to."""
        states = [str(result.status) for result in results]
        return cls(
            batch=batch,
            n_entities=len(results),
            n_ok=states.count("ok"),
            n_fallback=states.count("fallback"),
            n_failed=states.count("failed"),
            n_trials=sum(len(result.trials) for result in results),
            ids=_digest_of([result.unique_id for result in results]),
            attempts=_digest_of([result.attempt for result in results]),
            parts=dict(parts),
            began=began_of(results, began_ms),
        )

    @classmethod
    def of_table(
        cls, batch: str, entities: pa.Table, parts: Mapping[str, Part], began: Mapping[str, int]
    ) -> Marker:
        """Describe a batch by its rows of ``entities``."""
        states = entities["status"].to_pylist()
        return cls(
            batch=batch,
            n_entities=len(states),
            n_ok=states.count("ok"),
            n_fallback=states.count("fallback"),
            n_failed=states.count("failed"),
            n_trials=sum(entities["n_trials"].to_pylist()),
            ids=_digest_of(entities["unique_id"].to_pylist()),
            attempts=_digest_of(entities["attempt"].to_pylist()),
            parts=dict(parts),
            began=dict(began),
        )

    def same_work(self, other: Marker) -> bool:
        """Tell whether both stand for the same entities at the same attempts."""
        return (self.ids, self.attempts) == (other.ids, other.attempts)

    def to_bytes(self) -> bytes:
        """Write as JSON text that carries its own digest."""
        content = {"format": FORMAT, **asdict(self)}
        return json.dumps({**content, "blake2b": _own_digest(content)}, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Marker | None:
        """Read a marker; None where it is damaged, half written, or of another format."""
        try:
            content = json.loads(data)
            found = content.pop("blake2b")
            if content.pop("format") != FORMAT or found != _own_digest(
                {"format": FORMAT, **content}
            ):
                return None
            parts = {name: Part(**part) for name, part in content.pop("parts").items()}
            return cls(parts=parts, **content)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def began_of(results: Sequence[EntityResult], began_ms: int) -> dict[str, int]:
    """Say of each attempt among some results when its work began."""
    return {str(result.attempt): began_ms for result in results}


def _digest_of(values: list[Any]) -> str:
    return digest(json.dumps(values).encode())


def _own_digest(content: Mapping[str, Any]) -> str:
    return digest(json.dumps(content, sort_keys=True).encode())
