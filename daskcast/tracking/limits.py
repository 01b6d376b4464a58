"""What a tracking store takes: lengths, characters, and how much in one request.

Covers cutting, cleaning and splitting what is sent to MLflow, within the limits that its
servers document. Does not cover what is sent (``children``, ``parent``).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from daskcast.tracking.base import MetricPoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


MAX_NAME = 250
MAX_KEY = 250
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 5000  # of older servers; newer ones take 8,000
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ITEMS = 1000
MAX_BYTES = 950_000  # of the 1 MB of a request, with some slack
_METRIC_BYTES = 200  # of one metric in JSON, besides its key
_PAIR_BYTES = 60  # of one param or tag in JSON, besides key and value
_FOREIGN = re.compile(r"[^A-Za-z0-9_.\- ]")
_HASH = 8
_LIMITS = {"metrics": MAX_METRICS, "params": MAX_PARAMS, "tags": MAX_TAGS}


@dataclass(frozen=True, slots=True)
class LogBatch:
    """What goes into one ``log_batch`` request."""

    metrics: tuple[MetricPoint, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


def shorten(text: str, limit: int) -> str:
    """Cut a text to a limit; a digest of the whole keeps cut texts apart.

    Parameters
    ----------
    text : str
    limit : int
        Characters, at least 20.

    Examples
    --------
    >>> shorten("short", 20)
    'short'
    >>> shorten("a" * 30, 20)
    'aaa~71fab4a212af99bb'
    """
    text = clean(text)
    if len(text) <= limit:
        return text
    return f"{text[: limit - 2 * _HASH - 1]}~{_digest(text)}"


def clean(text: str) -> str:
    """Replace what a database of UTF-8 text cannot hold: NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def keyed(values: Mapping[str, str], limit: int) -> dict[str, str]:
    """Give keys and values that the store takes, keeping different keys apart.

    Parameters
    ----------
    values : mapping of str to str
    limit : int
        Characters of a value.

    Examples
    --------
    >>> keyed({"alpha": "0.1", "ETS(A,N)": "1"}, 100)
    {'alpha': '0.1', 'ETS_A_N__5483466d': '1'}
    """
    return {_key(key): shorten(value, limit) for key, value in values.items()}


def log_batches(
    metrics: Sequence[MetricPoint], params: Mapping[str, str], tags: Mapping[str, str]
) -> Iterator[LogBatch]:
    """Split what belongs to one run into requests, as few as the limits allow.

    Parameters
    ----------
    metrics : sequence of MetricPoint
    params, tags : mapping of str to str

    Yields
    ------
    LogBatch
        At least one item in each: nothing where there is nothing to send.
    """
    room = _Room()
    for kind, item in _items(metrics, params, tags):
        size = _size(item)
        if not room.fits(kind, size):
            yield room.batch()
            room = _Room()
        room.add(kind, item, size)
    if room.n_items:
        yield room.batch()


class _Room:
    """One request that is being filled."""

    def __init__(self) -> None:
        self._held: dict[str, list[Any]] = {"metrics": [], "params": [], "tags": []}
        self._bytes = 0

    @property
    def n_items(self) -> int:
        return sum(map(len, self._held.values()))

    def fits(self, kind: str, size: int) -> bool:
        if not self.n_items:
            return True
        full = len(self._held[kind]) >= _LIMITS[kind] or self.n_items >= MAX_ITEMS
        return not full and self._bytes + size <= MAX_BYTES

    def add(self, kind: str, item: object, size: int) -> None:
        self._held[kind].append(item)
        self._bytes += size

    def batch(self) -> LogBatch:
        return LogBatch(*map(tuple, self._held.values()))


def _items(
    metrics: Sequence[MetricPoint], params: Mapping[str, str], tags: Mapping[str, str]
) -> Iterator[tuple[str, MetricPoint | tuple[str, str]]]:
    for pair in params.items():
        yield "params", pair
    for pair in tags.items():
        yield "tags", pair
    for point in metrics:
        yield "metrics", point


def _size(item: MetricPoint | tuple[str, str]) -> int:
    if isinstance(item, MetricPoint):
        return _METRIC_BYTES + _json_length(item.key)
    return _PAIR_BYTES + _json_length(item[0]) + _json_length(item[1])


def _json_length(text: str) -> int:
    # As a request writes it: anything that is not ASCII takes six bytes or twelve.
    return len(text) + 2 if text.isascii() and text.isalnum() else len(json.dumps(text))


@lru_cache(4096)
def _key(key: str) -> str:
    known = _FOREIGN.sub("_", key)
    if known == key and 0 < len(key) <= MAX_KEY and not key.startswith("."):
        return key
    return f"{known.lstrip('.')[: MAX_KEY - _HASH - 1]}_{_digest(key)[:_HASH]}"


def _digest(text: str) -> str:
    encoded = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=_HASH).hexdigest()
