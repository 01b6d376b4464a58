"""How fast requests go to a server that others use too.

Covers :class:`Pace`: how many requests are in flight and how many a second, by what the server
shows. Does not cover requests (``server``).

Additive increase, multiplicative decrease (Chiu and Jain, 1989), with the delay as a sign besides
trouble (Brakmo and Peterson, 1995): a server with room answers as fast as it ever did, so a bit
more is tried; one that answers late gets less, but always one request at a time; one that refuses,
or does not answer, gets pauses between them.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_IN_FLIGHT = 8
MOST_PER_S = 200.0
START = 2.0
LOWEST = 0.25
#: Times the fastest answer: until here the server has room, from there on it has too much to do.
CALM, BUSY = 1.5, 2.0
STEP = 0.25
#: Of the window, after answers that come late and after trouble.
EASED, HALVED = 0.8, 0.5
#: Longest that a server may ask to be left alone.
MOST_WAIT_S = 120.0
#: Answers after which what was the fastest of a kind is forgotten: a store grows.
MEMORY = 400
_WEIGHT = 0.1


class Pace:
    """The pace of the requests of all threads that send to one server.

    Parameters
    ----------
    most_in_flight : int
    most_per_s : float
        Requests a second, however fast the server answers.
    clock : callable
        Seconds.

    Attributes
    ----------
    window : float
        Requests that may be in flight now; below one, the share of the time in which one is.
    """

    def __init__(
        self,
        *,
        most_in_flight: int = MOST_IN_FLIGHT,
        most_per_s: float = MOST_PER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window = min(START, float(most_in_flight))
        self._most = most_in_flight
        self._per_s = most_per_s
        self._clock = clock
        self._turns = threading.Condition()
        self._in_flight = 0
        self._next_at = -math.inf
        self._fastest: dict[str, _Fastest] = {}
        self._lateness = 1.0
        self._usual_s = 0.0
        self._n_to_pass = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and have a request in flight for as long as the block takes."""
        with self._turns:
            while (wait := self._wait_s()) != 0:
                self._turns.wait(wait)
            self._in_flight += 1
            self._next_at = max(self._next_at, self._clock()) + self._gap_s()
        try:
            yield
        finally:
            with self._turns:
                self._in_flight -= 1
                self._turns.notify()

    def answered(self, kind: str, seconds: float) -> None:
        """Learn from an answer.

        Parameters
        ----------
        kind : str
            Of requests that take about as long as each other.
        seconds : float
        """
        with self._turns:
            fastest = self._fastest.setdefault(kind, _Fastest()).of(seconds)
            lateness = seconds / fastest if fastest > 0 else 1.0
            self._lateness += _WEIGHT * (lateness - self._lateness)
            self._usual_s += _WEIGHT * (seconds - self._usual_s)
            self._n_to_pass -= 1
            if self._lateness <= CALM:
                self.window = min(self._most, self.window + STEP / max(self.window, 1.0))
            elif self._lateness > BUSY:
                self._decrease(EASED, 1.0)
            self._turns.notify()

    def troubled(self, wait_s: float = 0.0) -> None:
        """Learn from a request that was refused for now, or has no answer.

        Parameters
        ----------
        wait_s : float
            What the server asked for: nothing is sent for so long.
        """
        with self._turns:
            self._n_to_pass -= 1
            self._decrease(HALVED, LOWEST)
            self._next_at = max(self._next_at, self._clock() + min(wait_s, MOST_WAIT_S))

    def _decrease(self, share: float, least: float) -> None:
        """Take less, once for all requests that are in flight: they tell of the same moment."""
        if self._n_to_pass <= 0:
            self.window = max(min(self.window, least), self.window * share)
            self._n_to_pass = self._in_flight

    def _wait_s(self) -> float | None:
        """Give the seconds until one may ask again; 0 where it is one's turn, None for a notice."""
        if self._in_flight >= max(1, math.floor(self.window)):
            return None
        return max(self._next_at - self._clock(), 0.0)

    def _gap_s(self) -> float:
        pause = self._usual_s * (1 / self.window) if self.window < 1 else 0.0
        return max(1 / self._per_s, pause)


class _Fastest:
    """The fastest of the last answers of a kind; half of them are remembered at least."""

    def __init__(self) -> None:
        self._older = self._newer = math.inf
        self._n = 0

    def of(self, seconds: float) -> float:
        """Take one more answer in, and give the fastest."""
        self._newer = min(self._newer, seconds)
        self._n += 1
        fastest = min(self._older, self._newer)
        if self._n >= MEMORY // 2:
            self._older, self._newer, self._n = self._newer, math.inf, 0
        return fastest
