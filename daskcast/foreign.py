"""Distant places, and what the packages behind fsspec raise of them as the errors they stand for.

Covers opening a filesystem, its first answer, and turning what is raised into an OSError that says
in one sentence what happened. Does not cover which errors pass (``store.patience``), run folders
(``store.files``) or data (``panel``).

fsspec asks for OSErrors, and its filesystems mostly keep to that; what goes wrong before a store
has answered, such as an address where nobody listens or keys that are not there, comes as the
packages below them raise it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec import get_filesystem_class
from fsspec.core import url_to_fs

from daskcast.redact import printable, redact_text

if TYPE_CHECKING:
    from collections.abc import Callable

Given = TypeVar("Given")

#: How long a place may take for its first answer.
ANSWER_S = 15.0

_CREDENTIALS = re.compile(r"[^/]*:[^/]*@")


def as_os_error(operation: Callable[[], Given], *but: type[Exception]) -> Given:
    """Do something at a distant place; whatever that raises comes as an OSError.

    Parameters
    ----------
    operation : callable
    *but : type of Exception
        What comes as it is.

    Raises
    ------
    OSError
        With the words of what was raised, which stays its cause.

    Examples
    --------
    >>> class ConnectionClosed(Exception): ...
    >>> def read() -> bytes:
    ...     raise ConnectionClosed("nobody is there")
    >>> as_os_error(read)
    Traceback (most recent call last):
    OSError: nobody is there
    """
    try:
        return operation()
    except but:
        raise
    except PermissionError as error:
        if error.errno is not None:  # of this machine, with the name of the file
            raise
        told = f"{_words(error)}; check the credentials and what they allow"
        raise PermissionError(told) from error
    except OSError as error:
        if str(error) or isinstance(error, FileExistsError | FileNotFoundError):
            raise
        raise OSError(_words(error)) from error
    except Exception as error:  # each package behind fsspec has errors of its own, of no family
        if isinstance(error, AssertionError | AttributeError | NameError | TypeError):
            raise  # a mistake in a program
        raise OSError(_words(error)) from error


def reach(url: str, **options: Any) -> tuple[Any, str]:
    """Open the filesystem of a URL; what its package raises comes as an OSError.

    Parameters
    ----------
    url : str
        A path or an fsspec URL.
    **options
        For the filesystem.

    Returns
    -------
    fsspec.AbstractFileSystem
    str
        The path, as that filesystem writes it.

    Raises
    ------
    ValueError
        The kind of place is unknown, or takes no credentials in a URL.
    ImportError
        The package for it is missing.
    OSError
        All else.
    """
    return as_os_error(lambda: _reach(url, options), ValueError, ImportError)


def _reach(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    for link in url.split("::"):
        protocol, found, _ = link.partition("://")
        if found and _CREDENTIALS.match(get_filesystem_class(protocol)._strip_protocol(link)):
            raise ValueError(
                "a URL of this kind takes no credentials; give them in the environment or in a "
                "file of settings"
            )
    reached: tuple[Any, str] = url_to_fs(url, **options)
    return reached


def of_first_answer(filesystem: Any) -> dict[str, float]:
    """Give the option that holds a first call to a time; a filesystem that cannot be has none.

    Packages for the large stores try for minutes.
    """
    return {"timeout": ANSWER_S} if filesystem.async_impl else {}


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return printable(redact_text(str(error) or type(error).__name__)).rstrip(".")
