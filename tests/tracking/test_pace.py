"""The pace of requests: what a server shows changes it, and no request goes before its turn."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.tracking.pace import BUSY, LOWEST, MOST_WAIT_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_server_with_room_gets_more_up_to_the_cap() -> None:
    """Answers that stay as fast as the first raise the window, one request at a time."""
    pace = Pace(most_in_flight=6)
    seen = []
    for _ in range(300):
        pace.answered("create", 0.01)
        seen.append(pace.window)
    assert seen == sorted(seen)
    assert seen[-1] == 6


def test_a_server_that_slows_down_gets_less() -> None:
    """Three times as late, for long enough to be no accident: one at a time in the end."""
    pace = Pace()
    for _ in range(100):
        pace.answered("create", 0.01)
    before = pace.window
    pace.answered("create", 0.03)
    assert pace.window >= before  # once is an accident
    for _ in range(100):
        pace.answered("create", 0.03)
    assert pace.window == 1


def test_kinds_of_requests_are_compared_with_their_own() -> None:
    """One that always takes ten times as long as another is not late."""
    pace = Pace(most_in_flight=8)
    for _ in range(200):
        pace.answered("update", 0.01)
        pace.answered("log-batch", 0.1)
    assert pace.window == 8


def test_trouble_halves_and_what_is_asked_for_is_waited() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    before = pace.window
    pace.troubled(7.0)
    assert pace.window == before / 2
    assert pace._wait_s() == 7.0
    clock.now = 6.0
    assert pace._wait_s() == pytest.approx(1.0)
    pace.troubled(1e9)
    assert pace._wait_s() == MOST_WAIT_S
    clock.now = 6.0 + MOST_WAIT_S
    assert pace._wait_s() == 0.0


def test_below_one_in_flight_there_are_pauses() -> None:
    """At half of the time busy, starts are two usual answers apart."""
    clock = Clock()
    pace = Pace(clock=clock)
    for _ in range(200):
        pace.answered("create", 0.1)
    pace.window = 0.5
    with pace.turn():
        pass
    assert pace._wait_s() == pytest.approx(0.2, rel=0.05)


def test_not_more_a_second_than_the_budget() -> None:
    """However fast the answers are."""
    pace = Pace(most_per_s=50)
    began = time.monotonic()
    for _ in range(21):
        with pace.turn():
            pass
        pace.answered("create", 1e-6)
    assert time.monotonic() - began >= 20 / 50


def test_never_more_in_flight_than_the_window() -> None:
    """From many threads; and none waits for ever."""
    pace = Pace(most_in_flight=3, most_per_s=1e6)
    lock = threading.Lock()
    flying, most = 0, 0

    def send() -> None:
        nonlocal flying, most
        for _ in range(40):
            with pace.turn():
                with lock:
                    flying += 1
                    most = max(most, flying)
                time.sleep(0.0005)
                with lock:
                    flying -= 1
            pace.answered("create", 0.0005)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert 1 < most <= 3


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("answer"), st.floats(0, 1e3)),
            st.tuples(st.just("trouble"), st.floats(0, 1e6)),
        ),
        max_size=200,
    )
)
def test_whatever_happens_there_is_a_window(events: list[tuple[str, float]]) -> None:
    """It stays between its bounds, and somebody's turn comes within what a server may ask for."""
    pace = Pace(most_in_flight=5, clock=Clock())
    for what, seconds in events:
        if what == "answer":
            pace.answered("create", seconds)
        else:
            pace.troubled(seconds)
        assert LOWEST <= pace.window <= 5
        wait = pace._wait_s()
        assert wait is not None
        assert 0 <= wait <= MOST_WAIT_S


def test_a_store_that_grows_slower_is_not_taken_for_busy_for_ever() -> None:
    """What the fastest was is forgotten after a while."""
    pace = Pace()
    for _ in range(100):
        pace.answered("create", 0.01)
    slower = 0.01 * BUSY * 1.5
    for _ in range(2000):
        pace.answered("create", slower)
    assert pace.window == 8
