"""What is wrong with a kubeconfig with which nobody could sign in, in one sentence.

Covers the file, what it names, and the program that signs in. Does not cover an API that refuses
(``refused``) or signing in (``api``).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from daskcast.k8s.refused import LOG_IN
from daskcast.redact import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FILES = ("certificate-authority", "client-certificate", "client-key")
_LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_PROXIES = ("http", "https", "socks5", "socks5h")
_PEM = b"-----BEGIN"
_TOKEN_LIKE = re.compile(r"[\w+=.-]{40,}")
_NAMED = re.compile(
    r"""(?P<name>[\w.-]+)(?P<is>["']?\s*[=:]\s*|\s+)"""
    r"""(?=(?P<value>"[^"]*"?|'[^']*'?|(?:(?:basic|bearer)\s+)?[^\s,;&]+))""",
    flags=re.IGNORECASE,
)
_HEADER = re.compile(r"(Illegal header \w+) .*", flags=re.DOTALL)
"""In the words of httpx, which go on with what may be a token."""

_LONGEST_HINT = 200
_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_URL = re.compile(
    r"https?://[^\s/:@]+(:[0-9]{1,5})?(/\S*)?|https?://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?/?"
)


class _UnusableError(Exception):
    """A sentence about a kubeconfig."""


def why_no_account(error: BaseException, *, hung: bool = False) -> str:
    """Say why nobody could sign in, and what to do: the file, and what in it is wrong.

    What was raised is told only where the file does not show it, as it is in the words of Python,
    or may quote the file.

    Parameters
    ----------
    error : BaseException
        What was raised while signing in.
    hung : bool
        Whether it had not ended when it was given up.
    """
    if isinstance(error, ImportError):
        return (
            "the way to the cluster is a SOCKS proxy (ALL_PROXY, or proxy-url in the kubeconfig), "
            'which needs a package that is not installed: pip install "httpx[socks]"'
        )
    try:
        path, found = _kubeconfig()
        context = _context(path, found)
        cluster = _named(path, found, context, "cluster")
        user = _named(path, found, context, "user")
        _check_server(path, cluster)
        _check_files(path, {**cluster, **user})
        _check_user(path, user)
        if isinstance(user.get("exec"), dict):
            _blame_program(path, user["exec"], error, hung=hung)
    except _UnusableError as unusable:
        return str(unusable)
    if isinstance(error, ssl.SSLError):
        return (
            f"the certificates of the kubeconfig {path} cannot be used ({error.reason}): one is "
            f"damaged, or client-key belongs to another client-certificate; {LOG_IN}"
        )
    words = _hidden(str(error)) or "it was not read in time"
    return f"the kubeconfig {path} cannot be used: {words}; {LOG_IN}"


def _kubeconfig() -> tuple[str, dict[str, Any]]:
    """Read what KUBECONFIG names, several files as one, as kr8s does."""
    named = os.environ.get("KUBECONFIG", "~/.kube/config")
    paths = [Path(part).expanduser() for part in named.split(":") if part]
    there = [path for path in paths if path.exists()]
    if not there:
        raise _UnusableError(_nowhere(paths))
    found: dict[str, Any] = {"current-context": ""}
    for number, path in enumerate(there):
        read = _read(path)
        if number == 0:
            found["current-context"] = read.get("current-context")
        for several in _LISTS:
            found[several] = {**_by_name(path, read, several), **found.get(several, {})}
    return ":".join(map(str, there)), found


def _nowhere(paths: Sequence[Path]) -> str:
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        if not Path(_FOLDER).is_dir():
            return (
                "this pod has no token of a service account: give it a serviceAccountName, with "
                "automountServiceAccountToken true"
            )
        return f"the token of this pod in {_FOLDER} cannot be used: start the pod again"
    told = f"there is no kubeconfig {':'.join(map(str, paths))}" if paths else "KUBECONFIG is empty"
    return f"{told}: set KUBECONFIG to the file of a cluster, or {LOG_IN.replace(' again', '')}"


def _read(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - comes with kr8s

    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        told = f"the kubeconfig {path} cannot be read ({error.strerror}): mend its path or rights"
        raise _UnusableError(told) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:  # whose words quote lines of the file
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        told = f"the kubeconfig {path} is not YAML{where}: mend it, or {LOG_IN}"
        raise _UnusableError(told) from error
    if not isinstance(read, dict):
        raise _UnusableError(
            f"the kubeconfig {path} holds no clusters, users and contexts: mend it, or {LOG_IN}"
        )
    return read


def _by_name(path: Path, read: Mapping[str, Any], several: str) -> dict[str, dict[str, Any]]:
    one, listed = _LISTS[several], read.get(several) or []
    sound = isinstance(listed, list) and all(isinstance(x, dict) and "name" in x for x in listed)
    if not sound:
        raise _UnusableError(
            f"the kubeconfig {path} must have a list of {several}, each with a name: mend it, or "
            f"{LOG_IN}"
        )
    parts = {str(x["name"]): x.get(one) for x in listed}
    if wrong := [name for name, part in parts.items() if not isinstance(part, dict)]:
        raise _UnusableError(
            f"the kubeconfig {path} must have a table for the {one} {wrong[0]}: mend it, or "
            f"{LOG_IN}"
        )
    return parts


def _context(path: str, found: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    contexts, current = found["contexts"], found["current-context"]
    use = f"kubectl config use-context NAME, of {_listed(contexts)}"
    if not contexts:
        raise _UnusableError(f"the kubeconfig {path} has no contexts: {LOG_IN}")
    if not current:
        raise _UnusableError(f"the kubeconfig {path} has no current-context: {use}")
    if str(current) not in contexts:
        told = f"the kubeconfig {path} has no context {current}, its current-context: {use}"
        raise _UnusableError(told)
    return str(current), contexts[str(current)]


def _named(
    path: str, found: Mapping[str, Any], context: tuple[str, dict[str, Any]], kind: str
) -> dict[str, Any]:
    """Give the cluster, or the user, of a context."""
    name, parts = context[1].get(kind), found[f"{kind}s"]
    mend = f"kubectl config set-context {context[0]} --{kind}=NAME, of {_listed(parts)}"
    if not name:
        told = f"the context {context[0]} of the kubeconfig {path} names no {kind}: {mend}"
        raise _UnusableError(told)
    if str(name) not in parts:
        raise _UnusableError(
            f"the context {context[0]} of the kubeconfig {path} names the {kind} {name}, which is "
            f"not there: {mend}"
        )
    part: dict[str, Any] = parts[str(name)]
    return part


def _listed(names: Mapping[str, Any]) -> str:
    few = sorted(names)[:5]
    return (
        ", ".join(few) + (" ..." if len(names) > len(few) else "") if few else "which it has none"
    )


def _check_server(path: str, cluster: Mapping[str, Any]) -> None:
    server = cluster.get("server")
    if not (isinstance(server, str) and _URL.fullmatch(server) and _has_port(server)):
        raise _UnusableError(
            f"the server of the cluster in the kubeconfig {path} must be https://HOST:PORT, found "
            f"{server!r}: mend it, or {LOG_IN}"
        )
    proxy = cluster.get("proxy-url")
    if proxy and str(proxy).partition("://")[0] not in _PROXIES:
        raise _UnusableError(
            f"the proxy-url of the cluster in the kubeconfig {path} must begin with one of "
            f"{', '.join(_PROXIES)} and ://, found {proxy!r}: mend it, or {LOG_IN}"
        )
    if proxy and not _has_port(str(proxy)):
        raise _UnusableError(
            f"the proxy-url of the cluster in the kubeconfig {path} must have a port up to 65535, "
            f"found {proxy!r}: mend it, or {LOG_IN}"
        )


def _has_port(url: str) -> bool:
    """Tell whether the port of a URL can be one, if it has any."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _check_files(path: str, names: Mapping[str, Any]) -> None:
    for what in _FILES:
        given, data = names.get(what), names.get(f"{what}-data")
        if given and not data:
            _check_pem(path, what, _content(path, what, str(given)), f"the file {given}")
        elif data and _PEM not in str(data).encode():
            try:
                content = base64.b64decode(str(data))
            except (binascii.Error, ValueError):
                content = b""
            _check_pem(path, what, content, f"its {what}-data")


def _content(path: str, what: str, given: str) -> bytes:
    files = [Path(given), *(Path(part).parent / given for part in path.split(":"))]
    there = [file for file in files if file.exists()]
    try:
        return (there or files)[0].read_bytes()
    except OSError as error:
        raise _UnusableError(
            f"the kubeconfig {path} names the file {given} as its {what}, which cannot be read "
            f"({error.strerror}): mend the path, or {LOG_IN}"
        ) from error


def _check_pem(path: str, what: str, content: bytes, where: str) -> None:
    if _PEM not in content:
        called = "key" if what == "client-key" else "certificate"
        raise _UnusableError(
            f"the kubeconfig {path} cannot be used: {where} holds no {called} in the format PEM; "
            f"mend it, or {LOG_IN}"
        )


def _check_user(path: str, user: Mapping[str, Any]) -> None:
    told, provider = "", user.get("auth-provider")
    tokens = str(user.get("token") or "") + _id_token(provider)
    if not (tokens.isascii() and tokens.isprintable()):
        told = "has a token with line breaks or letters that no token has"
    elif "username" in user or "password" in user:
        told = "signs in by user and password, which Kubernetes ended with version 1.19"
    elif isinstance(provider, dict) and not _id_token(provider):
        told = f"signs in by the auth-provider {provider.get('name')}, which is not supported"
    if told:
        raise _UnusableError(f"the user of the kubeconfig {path} {told}: {LOG_IN}")


def _id_token(provider: Any) -> str:
    config = provider.get("config") if isinstance(provider, dict) else None
    return str(config.get("id-token") or "") if isinstance(config, dict) else ""


def _blame_program(
    path: str, given: Mapping[str, Any], error: BaseException, *, hung: bool
) -> None:
    """Say what the program did that signs in; its arguments and answer may hold secrets."""
    command, words = str(given.get("command")), str(error)
    who = f"the program {command}, which signs in for the kubeconfig {path},"
    hint = " ".join(str(given.get("installHint") or "").split())[:_LONGEST_HINT]
    if str(given.get("apiVersion", "")).endswith("v1alpha1"):
        raise _UnusableError(f"{who} is told to speak v1alpha1, which has ended: {LOG_IN}")
    if not all(given.get(name) for name in ("apiVersion", "command")):
        told = f"the exec of the user in the kubeconfig {path} needs apiVersion and command"
        raise _UnusableError(f"{told}: mend it, or {LOG_IN}")
    if not all(isinstance(arg, str) for arg in given.get("args") or ()):
        raise _UnusableError(
            f"{who} has args that are no texts: put numbers in quotes, or {LOG_IN}"
        )
    if shutil.which(command) is None:
        raise _UnusableError(f"{who} is not here: install it, or mend PATH{hint and f' ({hint})'}")
    if hung:
        raise _UnusableError(f"{who} does not end; it may be asking something: {LOG_IN}")
    if read := re.match(r"Process exited with non-zero code (-?\d+):", words):
        last = (words[read.end() :].strip().splitlines() or ["it wrote nothing"])[-1]
        told = f"failed (exit code {read[1]}: {_hidden(last)[:_LONGEST_HINT]})"
        raise _UnusableError(f"{who} {told}: {LOG_IN}")
    if isinstance(error, OSError):
        raise _UnusableError(f"{who} cannot be started ({error.strerror}): mend it, or {LOG_IN}")
    if isinstance(error, UnicodeEncodeError) or _HEADER.match(words):
        told = "answered with a token with line breaks or letters that no token has"
        raise _UnusableError(f"{who} {told}: mend it, or {LOG_IN}")
    if isinstance(error, ValueError | KeyError | TypeError | AttributeError):
        raise _UnusableError(f"{who} answered without a token or a certificate: {LOG_IN}")


def _hidden(words: str) -> str:
    """Leave away what may be a token, or a password by its name."""
    words = " ".join(_HEADER.sub(r"\1", words).split())
    kept, at = "", 0
    for found in _NAMED.finditer(words):
        begin, end = found.span("value")
        if begin >= at and _is_secret(found):
            kept, at = f"{kept}{words[at:begin]}***", end
    return _TOKEN_LIKE.sub("***", kept + words[at:])


def _is_secret(found: re.Match[str]) -> bool:
    """Tell whether a name is that of a secret; before a space, that of a flag alone."""
    has_value = found["is"].strip() or found["name"].startswith("-")
    return bool(has_value) and is_secret_name(found["name"].replace("-", "_"))
