"""An answer of the API of a Kubernetes cluster, or the one exception for all ways to have none.

Does not cover what is asked (``api``) or the sentence about a refusal (``refused``).
"""

from __future__ import annotations

import ssl
from typing import Any

from daskcast.k8s.kubeconfig import why_no_account
from daskcast.k8s.refused import UNTRUSTED

REQUEST_S = 10
"""For one answer; kr8s itself has no limit."""

PATIENCE_S = 25
"""For a request with all that kr8s does about it: signing in again, which may run a program."""

UNREACHABLE = 0
NO_ACCOUNT = -1
"""Statuses of what never got an answer: beside those of HTTP."""

STRANGE = -2
"""Of an answer that the API of a Kubernetes cluster never gives."""

FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409
_TOO_MANY, _BROKEN = 429, 500
_OVER_QUOTA = "exceeded quota:"
"""Of what is refused while others take all that a namespace may have."""

_NO_PATH = "404 page not found"
"""What Kubernetes says of kinds of objects that it does not have."""

_AUTH_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError),
    ImportError,  # of a proxy that httpx has no package for
)


class RefusedError(Exception):
    """The API did not do what it was asked.

    Parameters
    ----------
    status : int
        Of HTTP, or ``UNREACHABLE``, ``NO_ACCOUNT``, ``STRANGE``.
    text : str
        Its own words.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return f"{self.text} ({self.status})"

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed in a moment, or as soon as others end."""
        if self.status == UNREACHABLE:
            return UNTRUSTED not in self.text
        if self.status == FORBIDDEN:
            return _OVER_QUOTA in self.text
        return self.status == _TOO_MANY or self.status >= _BROKEN


async def entered(call: Any) -> Any:
    """Give what an asynchronous context gives."""
    async with call as answer:
        return answer


async def answered(work: Any) -> Any:
    """Wait for an answer, and tell every way in which there is none as one exception."""
    import httpx  # noqa: PLC0415 - comes with kr8s

    try:
        return await _answered(work)
    except ExceptionGroup as several:  # of tasks of anyio, which tries all addresses at once
        error = _first(several)
        if isinstance(error, OSError | httpx.HTTPError):
            raise RefusedError(UNREACHABLE, words_of(error)) from several
        raise RefusedError(NO_ACCOUNT, why_no_account(error)) from several


def _first(error: BaseException) -> BaseException:
    """Give what was raised first, of several that were raised together."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _answered(work: Any) -> Any:
    import anyio  # noqa: PLC0415 - comes with kr8s
    import httpx  # noqa: PLC0415 - comes with kr8s
    import kr8s  # noqa: PLC0415 - optional, and heavy
    import yaml  # noqa: PLC0415 - comes with kr8s

    try:
        with anyio.fail_after(PATIENCE_S):  # cancels until it ends, a program that hangs as well
            return await work
    except (kr8s.ServerError, httpx.HTTPStatusError) as error:
        if error.response is None:
            raise RefusedError(UNREACHABLE, words_of(error)) from error
        raise _refused_in(error.response) from error
    except (kr8s.APITimeoutError, TimeoutError) as error:
        raise RefusedError(UNREACHABLE, f"no answer within {REQUEST_S} s") from error
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        raise RefusedError(NO_ACCOUNT, why_no_account(error)) from error
    except (httpx.HTTPError, ssl.SSLCertVerificationError, ConnectionError) as error:
        raise RefusedError(UNREACHABLE, words_of(error)) from error
    except (*_AUTH_ERRORS, yaml.YAMLError) as error:
        if answer := _refused_by(error):
            raise _refused_in(answer) from error
        # Of reading the kubeconfig, of what it names, or of the program that signs in.
        raise RefusedError(NO_ACCOUNT, why_no_account(error)) from error


def _refused_by(error: BaseException) -> Any:
    """Give the answer of which kr8s could not read why it refused, if that is what failed."""
    import httpx  # noqa: PLC0415 - comes with kr8s

    before = error.__context__
    return before.response if isinstance(before, httpx.HTTPStatusError) else None


def _refused_in(answer: Any) -> RefusedError:
    """Say why an answer refuses: in the words of Kubernetes, or by who answered at all."""
    try:
        told = answer.json()
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    status, words = answer.status_code, told.get("message")
    if status == NOT_FOUND and told.get("kind") != "Status":
        if answer.text.strip() == _NO_PATH:
            return RefusedError(status, _NO_PATH)
        status, words = STRANGE, None
    if isinstance(words, str) and words:
        return RefusedError(status, words)
    where = str(answer.request.url).partition("?")[0]
    said = " ".join(filter(None, ("HTTP", str(answer.status_code), answer.reason_phrase)))
    return RefusedError(status, f"{said} from {where}")


def words_of(told: object) -> str:
    """Give the words of an error, or its name."""
    return str(told) or type(told).__name__
