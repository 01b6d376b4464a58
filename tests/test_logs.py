"""Records of a batch: tied to their entity, bounded, safe as a line, free of credentials."""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast import logs
from daskcast.errors import ConfigError
from daskcast.log_output import configure_console
from daskcast.logs import bound, capture, current, level_number, to_line

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("daskcast.task")
root = logging.getLogger("daskcast")

SECRET_URI = "pg://me:hunter2@h/db"


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Check that a test leaves the logger of the package as it found it."""
    before = (root.level, root.propagate, list(root.handlers))
    yield
    assert before == (root.level, root.propagate, list(root.handlers))


# -- names -------------------------------------------------------------------------------------


def test_names_nest_and_end() -> None:
    """A name holds until its block ends, also by an exception."""

    def within() -> None:
        with bound(entity="JFK"):
            assert current() == ("r", "JFK", "b1", "")
            raise RuntimeError

    with bound(run="r", batch="b1"):
        with pytest.raises(RuntimeError):
            within()
        assert current() == ("r", "", "b1", "")
    assert current() == ("", "", "", "")


def test_unknown_names_are_refused() -> None:
    """A misspelt name is an error, not a record without an entity."""
    with pytest.raises(ValueError, match="entitty"), bound(entitty="JFK"):
        pass


# -- records -----------------------------------------------------------------------------------


def test_what_a_record_holds() -> None:
    """All keys of the page, with the names bound where it was logged."""
    with capture() as records, bound(run="r", batch="b1", entity="JFK", worker="w"):
        logger.warning("gap of %d months", 3)
    (record,) = records
    moment = datetime.fromisoformat(record.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert record == {
        **{"level": "WARNING", "logger": "daskcast.task", "run": "r", "entity": "JFK"},
        **{"batch": "b1", "worker": "w", "message": "gap of 3 months"},
    }


def test_the_worker_is_this_process() -> None:
    """A record without a named worker has the host and the process."""
    with capture() as records:
        logger.info("here")
    assert records[0]["worker"] == f"{socket.gethostname()}:{os.getpid()}"


def test_exceptions_are_kept() -> None:
    """The traceback is text beside the message."""
    with capture() as records:
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logger.exception("broken")
    assert records[0]["message"] == "broken"
    assert records[0]["traceback"].startswith("Traceback")
    assert "ZeroDivisionError" in records[0]["traceback"]


def test_credentials_are_removed() -> None:
    """Neither message nor traceback tells the password of a URI."""

    def unreachable() -> None:
        raise OSError(f"no route to {SECRET_URI}")

    with capture() as records:
        try:
            unreachable()
        except OSError:
            logger.exception("cannot reach %s", "https://me:hunter2@h/api?token=hunter2")
    assert "hunter2" not in to_line(records[0])
    assert records[0]["message"] == "cannot reach https://h/api?token=***"


@pytest.mark.parametrize(
    ("template", "args", "message"),
    [
        ("%d months", ("three",), "%d months % ('three',)"),
        ("%(months)d", ({"years": 3},), "%(months)d % {'years': 3}"),
        ("%s and %s", ("one",), "%s and %s % ('one',)"),
    ],
)
def test_a_bad_format_raises_nothing(template: str, args: tuple[object, ...], message: str) -> None:
    """A slip in a log call costs no entity its forecast."""
    slip = logging.LogRecord("daskcast.x", logging.INFO, __file__, 1, template, args, None)
    assert logs.to_record(slip)["message"] == message


@given(st.text() | st.just("a\r\n\x00\x1b[31m\u2028\u0085\ud800"))
def test_any_text_is_one_line(text: str) -> None:
    """The line has no control character and reads back as it was."""
    line = to_line({"entity": text, "message": text})
    assert line.isprintable()
    assert line.isascii()
    assert json.loads(line) == {"entity": text, "message": text}


def test_long_texts_are_shortened_in_the_middle() -> None:
    """A huge message keeps its beginning and its end."""
    with capture() as records:
        logger.info("begin %s end", "x" * 10**6)
    message = records[0]["message"]
    assert len(message) < logs.MAX_MESSAGE + 100
    assert message.startswith("begin x")
    assert message.endswith("x end")
    assert "characters left out" in message


# -- capturing ---------------------------------------------------------------------------------


def test_a_storm_is_bounded() -> None:
    """The first records of an entity are kept, the others counted; its errors have their room."""
    with capture(n_per_entity=5) as records, bound(batch="b1"):
        for name in ("JFK", "LGA"):
            with bound(entity=name):
                for number in range(100 if name == "JFK" else 3):
                    logger.warning("storm %d", number)
                logger.error("the one that matters")
    jfk = [r["message"] for r in records if r["entity"] == "JFK"]
    assert jfk == [
        *(f"storm {number}" for number in range(5)),
        "the one that matters",
        "95 more records were not kept: only the first ones of an entity are",
    ]
    assert len([r for r in records if r["entity"] == "LGA"]) == 4
    assert {r["batch"] for r in records} == {"b1"}


def test_a_batch_is_bounded() -> None:
    """Many entities with some records each fill no memory either; errors are kept beyond."""
    with capture(n_most=10) as records:
        for number in range(100):
            with bound(entity=str(number)):
                logger.warning("storm")
        logger.error("the one that matters")
    kept = [r for r in records if "not kept" not in r["message"]]
    assert len(kept) == 11
    assert kept[-1]["level"] == "ERROR"
    assert len(records) == 11 + 90


def test_two_threads_do_not_mix() -> None:
    """Two batches that log at the same time in one process have their own records only."""
    barrier = threading.Barrier(4, timeout=30)

    def batch(name: str) -> list[dict[str, Any]]:
        with capture() as records, bound(batch=name):
            for number in range(40):
                with bound(entity=f"{name}-{number}"):
                    barrier.wait()
                    logger.info("of %s", name)
        return records

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip("abcd", pool.map(batch, "abcd"), strict=True))
    for name, records in found.items():
        assert [r["entity"] for r in records] == [f"{name}-{k}" for k in range(40)]
        assert {(r["batch"], r["message"]) for r in records} == {(name, f"of {name}")}


def test_blocks_nest() -> None:
    """A batch within the run has its records for itself."""
    with capture() as outer:
        logger.info("before")
        with capture() as inner:
            logger.info("within")
        logger.info("after")
    assert [r["message"] for r in outer] == ["before", "after"]
    assert [r["message"] for r in inner] == ["within"]


def test_outside_of_a_block_nothing_is_collected() -> None:
    """Another thread's records, and those of other packages, are not the batch's."""
    with capture() as records:
        thread = threading.Thread(target=logger.warning, args=("of another thread",))
        thread.start()
        thread.join(timeout=30)
        logging.getLogger("someone.else").warning("not ours")
    logger.warning("afterwards")
    assert records == []


def test_an_exception_passes() -> None:
    """A block that raises still has its records, and cleans up behind itself."""
    seen: list[list[dict[str, Any]]] = []

    def broken() -> None:
        with capture() as records:
            seen.append(records)
            logger.info("before")
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert [r["message"] for r in seen[0]] == ["before"]


@pytest.mark.parametrize(
    ("level", "n"), [(logging.DEBUG, 4), (logging.INFO, 3), (logging.ERROR, 1)]
)
def test_levels(level: int, n: int) -> None:
    """Records from the level on are made, whatever the level of the root logger."""
    with capture(level=level) as records:
        logger.debug("x")
        logger.info("x")
        logger.warning("x")
        logger.error("x")
    assert len(records) == n


def test_handlers_of_the_user_see_what_they_would(caplog: pytest.LogCaptureFixture) -> None:
    """While a batch is captured, other handlers get neither more nor fewer records."""
    caplog.set_level(logging.WARNING)
    with capture() as records:
        logger.info("for the folder alone")
        logger.warning("for both")
    assert [r["message"] for r in records] == ["for the folder alone", "for both"]
    assert caplog.messages == ["for both"]
    caplog.set_level(logging.INFO)
    with capture():
        logger.info("asked for")
    assert caplog.messages == ["for both", "asked for"]


def test_a_quiet_worker_prints_nothing() -> None:
    """In a process without handlers a captured warning goes to the folder, not to the terminal."""
    code = (
        "import logging\nfrom daskcast.logs import capture\n"
        "with capture() as records: logging.getLogger('daskcast.x').warning('storm')\n"
        "assert len(records) == 1"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_records_travel() -> None:
    """Records pickle, as they may go from a worker to the process that leads the run."""
    with capture() as records:
        logger.info("object %s", object())
    assert pickle.loads(pickle.dumps(records)) == records


# -- levels and the console --------------------------------------------------------------------


def test_level_names() -> None:
    """Names count in any case; others are refused with those that exist."""
    assert level_number("warning") == logging.WARNING
    with pytest.raises(ConfigError, match="found 'loud'"):
        level_number("loud")


@pytest.fixture
def restored() -> Iterator[None]:
    """Undo what configuring the console did."""
    before = (root.level, list(root.handlers))
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_the_console_is_plain(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Level, message and entity on a line, from the level on, once, without escapes or secrets."""
    configure_console("INFO")
    configure_console("WARNING")
    with bound(entity="J\x1b[31mFK"):
        logger.info("hidden")
        logger.warning("at pg://u:hunter2@h/x\nsecond")
    assert capsys.readouterr().err == "warning: at pg://h/x\\nsecond [J\\x1b[31mFK]\n"


def test_the_console_during_a_batch(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Capturing for the folder shows no more on the console than its level."""
    configure_console("WARNING")
    with capture() as records:
        logger.info("for the folder alone")
        logger.warning("for both")
    assert capsys.readouterr().err == "warning: for both\n"
    assert len(records) == 2


def test_the_console_shows_tracebacks(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    """An exception keeps its lines."""
    configure_console()
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("broken")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["error: broken", "Traceback (most recent call last):"]
    assert lines[-1] == "ZeroDivisionError: division by zero"
