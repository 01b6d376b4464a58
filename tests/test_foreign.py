"""Whatever a distant place raises is an error of files, in one sentence."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from daskcast.foreign import as_os_error


class EndpointConnectionError(Exception):
    """As that of botocore, no OSError."""


def raising(error: Exception) -> Any:
    def operation() -> None:
        raise error

    return operation


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EndpointConnectionError("nobody is there."), "nobody is there"),
        (EndpointConnectionError(), "EndpointConnectionError"),
        (EndpointConnectionError("at http://me:hunter2@h/x\n\x1b[2J"), r"at http://h/x\n\x1b[2J"),
        (ValueError("Invalid endpoint: h"), "Invalid endpoint: h"),
        (TimeoutError(), "no answer in time"),
        (PermissionError("Forbidden"), "Forbidden; check the credentials and what they allow"),
    ],
)
def test_words(error: Exception, told: str) -> None:
    """Its own, without a secret, a line break or a full stop; it stays the cause."""
    with pytest.raises(OSError) as found:  # noqa: PT011 - its text is what is looked at
        as_os_error(raising(error))
    assert str(found.value) == told
    assert found.value.__cause__ is error
    assert isinstance(found.value, PermissionError) == isinstance(error, PermissionError)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("bucket/x"),
        FileExistsError(),
        PermissionError(errno.EACCES, "Permission denied", "/x"),
        OSError(errno.ENOSPC, "No space left on device"),
        TypeError("a mistake"),
        AssertionError("a mistake"),
    ],
)
def test_what_comes_as_it_is(error: Exception) -> None:
    """An error of files, and a mistake in a program."""
    with pytest.raises(type(error)) as found:
        as_os_error(raising(error))
    assert found.value is error


def test_what_the_caller_knows() -> None:
    """Kinds that are named come as they are."""
    with pytest.raises(ImportError, match="Install s3fs"):
        as_os_error(raising(ImportError("Install s3fs")), ValueError, ImportError)
