"""Credentials leave every text; the rest of it stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.redact import (
    is_secret_name,
    lines_with_secrets,
    redact_text,
    redact_uri,
    redacted,
    redacted_args,
    redacted_tags,
)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql://u:p@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("mysql+pymysql://u:p%40x@db/mlflow", "mysql+pymysql://db/mlflow"),
        ("https://token@host/path?x=1#top", "https://host/path?x=1#top"),
        ("https://u:p@[::1]:5000/x", "https://[::1]:5000/x"),
        ("pg://u:p@ss@host/db", "pg://host/db"),
        ("pg://u:p/w@host/db", "pg://host/db"),
        ("pg://u:p@s/w@host/db", "pg://host/db"),
        ("s3://bucket/a@b/c", "s3://bucket/a@b/c"),
        ("http://localhost:5000/a@b", "http://localhost:5000/a@b"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("file:///home/me@work/x", "file:///home/me@work/x"),
        ("abfs://c@account.dfs/x", "abfs://account.dfs/x"),
        ("https://h/x?sig=abc%3D&sv=2&SharedKey=z", "https://h/x?sig=***&sv=2&SharedKey=***"),
        ("pg://h/db?password=a;user=b", "pg://h/db?password=***;user=b"),
        ("https://h/#access_token=abc", "https://h/#access_token=***"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("runs/me@work:1", "runs/me@work:1"),
        ("", ""),
    ],
)
def test_uris(uri: str, expected: str) -> None:
    """User, password and secret query values go; host, path and the rest stay."""
    assert redact_uri(uri) == expected
    assert redact_text(f"cannot reach {uri} (x)") == f"cannot reach {expected} (x)"


def test_values_are_copied() -> None:
    """Texts within lists and mappings are redacted, and the original stays as it was."""
    value = {"a": ["s3://u:p@b/x", 1, None], "b": {"c": ("see pg://u:p@h", 2.5)}}
    assert redacted(value) == {"a": ["s3://b/x", 1, None], "b": {"c": ["see pg://h", 2.5]}}
    assert value["a"][0] == "s3://u:p@b/x"


words = st.text("abcXYZ019._-~%!$*+", min_size=6, max_size=20)


@given(user=words, password=words, before=st.text(max_size=10))
def test_no_password_survives(user: str, password: str, before: str) -> None:
    """In any text, the password of a URI is gone, and so is the value of a secret."""
    secret = f"SECRET{password}"
    text = f"{before} https://{user}:{secret}@host:80/p?api_key={secret}&n=1 after"
    found = redact_text(text)
    assert secret not in found
    assert found.endswith("https://host:80/p?api_key=***&n=1 after")


SECRET_NAMES = (
    *(
        "my/token",
        "authorization",
        "Proxy-Authorization",
        "sas",
        "AZURE_SAS",
        "sas_url",
        "npm_auth",
    ),
    *("access_key", "accessKey", "AZURE_STORAGE_KEY", "AZURE_STORAGE_KEY2", "account_key"),
    *("AccountKey", "AZURE_STORAGE_CONNECTION_STRING", "connectionString", "client_secret"),
    *("AWS_SECRET_ACCESS_KEY", "private-key", "ssh.key", "api_key", "apikey", "pass", "DB_PWD"),
    *("passenger_password", "session jwt", "team/credentials", "SharedAccessKey"),
)
HARMLESS_NAMES = (
    *("monkey", "key_account", "turkey", "keyboard", "hockey", "sort_key", "partition_key", "key"),
    *("passengers", "TOKENIZERS_PARALLELISM", "author", "authority", "Kansas", "sassafras"),
    *("AWS_ACCESS_KEY_ID", "AZURE_STORAGE_ACCOUNT", "account", "access", "connection", "design"),
    *("PASSTHROUGH", "MY_TOKEN_FILE", "AWS_SHARED_CREDENTIALS_FILE", "PGPASSFILE", "SECRET_NAME"),
    *(
        "token-path",
        "secretName",
        "auth_method",
        "AWS_REGION",
        "storage_keyboard",
        "daskcast.run_key",
        "sales",
    ),
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    """As a tag, as a variable, and as an argument in each of its forms."""
    assert is_secret_name(name)
    assert redacted_tags({name: "hunter2"}) == {name: "***"}
    assert redacted_args(["--tag", f"{name}=hunter2"]) == ["--tag", f"{name}=***"]
    assert redacted_args([f"--tag={name}=hunter2=x"]) == [f"--tag={name}=***"]


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_names_that_only_look_like_it(name: str) -> None:
    """They stay, with what they hold."""
    assert not is_secret_name(name)
    assert redacted_tags({name: "x"}) == {name: "x"}
    assert redacted_args(["--tag", f"{name}=x"]) == ["--tag", f"{name}=x"]


def test_a_folder_or_an_option_is_no_tag() -> None:
    """Partitions of a table are called as they like, and a Secret's name is none itself."""
    args = ["run", "/lake/token=5/x.parquet", "--out=/runs/token=5", "--secret=s3-keys"]
    assert redacted_args(args) == args
    assert redacted_args(["api_token=hunter2"]) == ["api_token=***"]


@given(name=st.sampled_from(SECRET_NAMES), before=st.text("ab_/.-", max_size=6), value=words)
def test_no_prefix_hides_a_secret(name: str, before: str, value: str) -> None:
    """A name in a group, as `team/token`, is a secret as it is without."""
    group = f"{before}/"
    assert redacted_tags({f"{group}{name}": value}) == {f"{group}{name}": "***"}
    assert redacted_args(["--tag", f"{group}{name}={value}"])[1] == f"{group}{name}=***"


@pytest.mark.parametrize(
    "value",
    ["Server=x;Password=abc;", "AccountName=a;AccountKey=abc==", "host=x password=abc"],
)
def test_connection_strings_in_tags(value: str) -> None:
    """Whatever the tag is called, the secret in its value is hidden."""
    [hidden] = redacted_tags({"conn": value}).values()
    assert "abc" not in hidden
    assert hidden.startswith(value.partition("=")[0])
    assert redacted_args(["--tag", f"conn={value}"]) == ["--tag", f"conn={hidden}"]
    assert redacted_args([f"--tag=conn={value}"]) == [f"--tag=conn={hidden}"]


@pytest.mark.parametrize(
    "line",
    [
        *("# AWS_SECRET_ACCESS_KEY=wJalr", "# password: hunter2", "#token = hunter2", "pass='x'"),
        *('conn = "Server=x;Password=abc;"', '"my/sas" = "h"', "# Access Key: abc", 'token = """'),
        *("env = { A_KEY_FILE = '/x', MY_TOKEN = 'x' }", "# Authorization: Bearer abc"),
        *("tags.db.password = 'x'", "# password == x", "out = 'ftp://me:word@host/x'"),
        '# {"password": "x"}',
    ],
)
def test_lines_with_secrets(line: str) -> None:
    """Comments too, with quotes or without, at any place of a line."""
    assert lines_with_secrets(f"seed = 3\n{line}\n\n{line}") == [2, 4]


@pytest.mark.parametrize(
    "line",
    [
        *('password = ""', 'secrets = ["lake"]', 'pull-secrets = "r"', "# secrets: of the lake"),
        *("worker.secrets = ['x']", 'PGPASSFILE = "/x"', "# token=false", "password = '***'"),
        *('secret_name = "lake"', "at = 10:30", "out = 's3://a/b'", "# the password, see there"),
        *("monkey = 'x'", "= x", ": x", ""),
    ],
)
def test_lines_without_secrets(line: str) -> None:
    """Names of Secrets, places of secrets, and what is empty."""
    assert lines_with_secrets(line) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part", ["a", "=", "a=", ":", "://", "a://", "key ", " ", "\n", "a?b&", '"']
)
def test_a_long_text_takes_no_time_to_speak_of(part: str) -> None:
    """300 KB are looked at at once, whatever they are made of; a square would take hours."""
    text = part * (300_000 // len(part))
    assert lines_with_secrets(f"# {text}") == []
    assert lines_with_secrets(f"{text}\n# {text} ftp://me:word@host/x")[-1:] != []
