"""Text that is safe to show and to keep: without credentials, without control characters.

Covers URIs (user, password, secrets of the query), alone, within a text, within JSON-ready values
and within the arguments of a command; connection strings in tags; finding secrets in the text of a
file. Each takes time in proportion to the text. Does not cover deciding what is written where:
``logs``, ``store`` and ``errors`` send what they write or tell through here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,40}://[^\s\"<>]+")
_SECRET = re.compile(
    r"pass|pwd|secret|token|key|sig|credential|auth|sas|session", flags=re.IGNORECASE
)
_SECRET_NAME = re.compile(
    r"pass(?!enger|through)|pwd|secret|token(?!iz)|credential|authorization|api_?key"
    r"|connection[\W_]?string|(?<![a-z])(?:sas|jwt)(?![a-z])"
    # at the end alone: an access key's id is none, a partition's or an account's key may be a name
    r"|(?:access|account|auth|encryption|master|private|shared|signing|ssh|storage|subscription)"
    r"[\W_]?key\d*$|(?<![a-z])auth$",
    flags=re.IGNORECASE,
)
_PLACE_NAME = re.compile(r"(?:file|path|name)$", flags=re.IGNORECASE)
"""What says where a secret is, or what it is called: the value is none."""

_BETWEEN_PAIRS = re.compile(r"([;,&\s]+)")
_LISTS_OF_SECRETS = ("secrets", "pull_secrets")
_NO_VALUE = ("", "true", "false", "{", "[")
_ASSIGNED_TO = re.compile(r"[\w./-]+")  # of a text that is reversed
_SEEN = 200
"""Characters on each side of an equals sign that are looked at."""

_PAIR_NAME = re.compile(r"[\w.][\w.\- ]*")
_PORT = re.compile(r"(\[.*\]|[^:\[\]]*)(:\d*)?")


def redact_uri(uri: str) -> str:
    """Remove user, password and the secrets of the query from a URI; other text stays.

    Parameters
    ----------
    uri : str
        A URI or a path; what has no ``://`` comes back as it is.

    Examples
    --------
    >>> redact_uri("postgresql://me:pa@ss@db.example:5432/mlflow?sslmode=require&password=x")
    'postgresql://db.example:5432/mlflow?sslmode=require&password=***'
    >>> redact_uri("s3://bucket/runs/1")
    's3://bucket/runs/1'
    """
    scheme, found, rest = uri.partition("://")
    if not found:
        return uri
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{_without_user(place)}{_without_secrets(rest[len(place) :])}"


def _without_user(place: str) -> str:
    """Drop all up to the ``@`` of the authority, also where a password holds ``@`` or ``/``."""
    if "@" not in place:
        return place
    authority = place.partition("/")[0]
    user, found, host = authority.rpartition("@")
    if (found and ":" in user) or not (found or _PORT.fullmatch(authority)):
        return place.rpartition("@")[2]
    return host + place[len(authority) :] if found else place


def _without_secrets(query: str) -> str:
    def hide(part: str) -> str:
        name, found, _ = part.partition("=")
        return f"{name}=***" if found and _SECRET.search(name) else part

    return "".join(hide(part) for part in re.split(r"([?&;#])", query))


def redact_text(text: str) -> str:
    """Remove credentials from every URI in a text.

    Examples
    --------
    >>> redact_text("cannot reach https://me:secret@host/api, will go on")
    'cannot reach https://host/api, will go on'
    """
    if "://" not in text:
        return text
    return _URI.sub(lambda match: redact_uri(match.group()), text)


def printable(text: object) -> str:
    r"""Show what cannot be printed as its escape, line breaks too.

    Examples
    --------
    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_secret_name(name: str) -> bool:
    """Tell whether a name says that its value is a secret.

    Parameters
    ----------
    name : str
        Of a tag, a variable of the environment or an option.

    Examples
    --------
    >>> [is_secret_name(name) for name in ("my/token", "AZURE_STORAGE_KEY", "monkey", "sort_key")]
    [True, True, False, False]
    """
    return bool(_SECRET_NAME.search(name)) and not _PLACE_NAME.search(name)


def lines_with_secrets(text: str) -> list[int]:
    r"""Give the numbers of lines of a file of options that hold a secret, comments too.

    A secret is what is assigned, with ``=`` or ``:``, to a name that says so, and what a URI holds.
    The names of Secrets in ``secrets`` and ``pull_secrets`` are none.

    Examples
    --------
    >>> lines_with_secrets('seed = 3\n# password: hunter2\nsecrets = ["lake"]\ntoken = "x"')
    [2, 4]
    """
    lines = enumerate(text.splitlines(), 1)
    return [
        number for number, line in lines if _assigns_a_secret(line) or redact_text(line) != line
    ]


def _assigns_a_secret(line: str) -> bool:
    return any(
        _names_a_secret(line[max(0, found.start() - _SEEN) : found.start()])
        and _has_value(line[found.end() : found.end() + _SEEN])
        for found in re.finditer("[=:]", line)
    )


def _has_value(after: str) -> bool:
    """Tell whether something is assigned; three quotes begin it on the next line."""
    after = after.strip()
    word = re.split(r"[\s,;}\]#]", after.strip("\"'*= "), maxsplit=1)[0].strip("\"'*")
    return after[:3] in ('"""', "'''") or word.lower() not in _NO_VALUE


def _names_a_secret(before: str) -> bool:
    """Look at what something is assigned to: the last word, or two such as ``access key``."""
    last, rest = _last_word(before)
    if not last or last.lower().replace("-", "_") in _LISTS_OF_SECRETS:
        return False
    is_key = last.lower().startswith("key")
    return is_secret_name(f"{_last_word(rest)[0]} {last}" if is_key else last)


def _last_word(text: str) -> tuple[str, str]:
    """Give the last part of the dotted name that a text ends with, and what is before it."""
    reverse = text[::-1].lstrip(" \t\"'")
    found = _ASSIGNED_TO.match(reverse)
    word = found.group()[::-1] if found else ""
    return word.rpartition(".")[2], reverse[len(word) :][::-1]


def redacted_args(args: Sequence[str]) -> list[str]:
    """Copy the arguments of a command without credentials: of URIs, and of tags that are secrets.

    Examples
    --------
    >>> redacted_args(["--tag", "api_token=x", "--out", "ftp://me:secret@host/run"])
    ['--tag', 'api_token=***', '--out', 'ftp://host/run']
    """
    return [_redacted_arg(arg, before) for before, arg in zip(["", *args], args, strict=False)]


def _redacted_arg(arg: str, before: str) -> str:
    """Redact an argument; a tag's name may have a slash in it, which else is that of a path."""
    flag = "--tag=" if arg.startswith("--tag=") else ""
    name, found, _ = arg.removeprefix(flag).partition("=")
    is_pair = before == "--tag" or flag or _PAIR_NAME.fullmatch(name)
    if found and is_pair and is_secret_name(name):
        return f"{flag}{name}=***"
    if found and (before == "--tag" or flag):
        return f"{flag}{name}={_without_pairs(arg[len(flag) + len(name) + 1 :])}"
    return redact_text(arg)


def _without_pairs(value: str) -> str:
    """Hide the secrets of a connection string, such as ``Server=db;Password=x``, and of URIs."""
    return "".join(map(_without_pair, _BETWEEN_PAIRS.split(redact_text(value))))


def _without_pair(part: str) -> str:
    name, found, text = part.partition("=")
    return f"{name}=***" if found and text and is_secret_name(name) else part


def redacted_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Copy tags without credentials: of URIs, of connection strings, of names that say it.

    Examples
    --------
    >>> redacted_tags({"api_token": "x", "team": "network", "from": "ftp://me:secret@host"})
    {'api_token': '***', 'team': 'network', 'from': 'ftp://host'}
    >>> redacted_tags({"db": "Server=a;Password=x;"})
    {'db': 'Server=a;Password=***;'}
    """
    return {
        key: "***" if is_secret_name(key) else _without_pairs(value) for key, value in tags.items()
    }


def redacted(value: Any) -> Any:
    """Copy a JSON-ready value with credentials removed from all its texts."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: redacted(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return value
