"""What is said of a kubeconfig that cannot be used: the file, what is wrong with it, what to do."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from answering import answering
from click.testing import CliRunner, Result

from daskcast.cli import main
from daskcast.errors import ClusterError
from daskcast.k8s import answers
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.objects import connected
from daskcast.k8s.refused import refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

SECRET = "hunter2"
FORBIDDEN_WORDS = ("Traceback", "Errno", "Error(", SECRET, "NoneType", "codec")
DAMAGED = f"-----BEGIN CERTIFICATE-----\n{SECRET}\n-----END CERTIFICATE-----\n"
ENVELOPE = "client.authentication.k8s.io/v1"


class Answers(BaseHTTPRequestHandler):
    """An API that answers as it is told to."""

    status, body = 200, json.dumps({"gitVersion": "v1.34.1"})
    elsewhere: tuple[int, str] | None = None

    def do_GET(self) -> None:
        other = None if self.path.startswith("/version") else self.elsewhere
        status, body = other or (self.status, self.body)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_DELETE = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Answers]]]:
    kind = type("Told", (Answers,), {})
    with answering(kind) as address:
        yield address, kind


@pytest.fixture
def config(server: Any) -> dict[str, Any]:
    """Give a kubeconfig that does."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "work",
        "contexts": [{"name": "work", "context": {"cluster": "there", "user": "ann"}}],
        "clusters": [{"name": "there", "cluster": {"server": server[0]}}],
        "users": [{"name": "ann", "user": {"token": SECRET}}],
    }


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the path that KUBECONFIG names."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return tmp_path / "config"


def refused() -> str:
    """Connect, and give why that is refused: plain words, one line, no secret."""
    with pytest.raises(ClusterError) as caught:
        connected(None).close()
    text = str(caught.value)
    assert "\n" not in text
    assert [words for words in FORBIDDEN_WORDS if words in text] == []
    return text


def cluster(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["clusters"][0]["cluster"]
    return found


def user(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["users"][0]["user"]
    return found


def context(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["contexts"][0]["context"]
    return found


def program(path: Path, text: str, **more: Any) -> dict[str, Any]:
    """Give a user whom a program signs in."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return {"exec": {"apiVersion": ENVELOPE, "command": str(path), "args": [SECRET], **more}}


def run(command: str) -> Result:
    args = ["s3://a/b", "--horizon", "1", "--out", "s3://a/c", "--image", "a:1", "--workers", "1"]
    return CliRunner().invoke(main, ["k8s", command, *(args if command == "submit" else [])])


def test_one_that_does(config: dict[str, Any], file: Path) -> None:
    """So that the others are refused for what is changed."""
    context(config)["namespace"] = None
    file.write_text(yaml.safe_dump(config))
    found = connected(None)
    assert found.namespace == "default"
    found.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("current-context"), "has no current-context: kubectl config use-context"),
        (lambda c: c.update({"current-context": ""}), "use-context NAME, of work"),
        (lambda c: c.update({"current-context": "play"}), "has no context play"),
        (lambda c: c.pop("contexts"), "has no contexts"),
        (lambda c: c.update(contexts="work"), "must have a list of contexts"),
        (lambda c: c.update(contexts=[{"name": "work"}]), "have a table for the context work"),
        (lambda c: c["users"][0].update(user=None), "must have a table for the user ann"),
        (lambda c: c["clusters"][0].pop("cluster"), "must have a table for the cluster there"),
        (lambda c: context(c).pop("cluster"), "names no cluster"),
        (lambda c: context(c).update(cluster="here"), "names the cluster here, which is not there"),
        (lambda c: context(c).update(user="bob"), "set-context work --user=NAME, of ann"),
        (lambda c: context(c).pop("user"), "names no user"),
        (lambda c: c.update(users=None), "names the user ann, which is not there"),
        (lambda c: cluster(c).pop("server"), "must be https://HOST:PORT, found None"),
        (lambda c: cluster(c).update(server="there:6443"), "found 'there:6443'"),
        (lambda c: cluster(c).update(server="https://x:y"), "must be https://HOST:PORT"),
        (
            lambda c: cluster(c).update({"certificate-authority": "/none/ca.crt"}),
            "names the file /none/ca.crt as its certificate-authority, which cannot be read",
        ),
        (
            lambda c: user(c).update({"client-certificate": "a.crt", "client-key": "a.key"}),
            "names the file a.crt as its client-certificate",
        ),
        (
            lambda c: cluster(c).update({"certificate-authority-data": "???"}),
            "its certificate-authority-data holds no certificate",
        ),
        (
            lambda c: user(c).update(
                {f"client-{x}-data": base64.b64encode(b"x") for x in ("key", "certificate")}
            ),
            "its client-certificate-data holds no certificate in the format PEM",
        ),
        (
            lambda c: cluster(c).update({"certificate-authority-data": DAMAGED}),
            "the certificates of the kubeconfig",
        ),
        (lambda c: user(c).update(token=f"a\n{SECRET}"), "has a token with line breaks"),
        (lambda c: user(c).update(token=f"ü{SECRET}"), "letters that no token has"),
        (
            lambda c: user(c).update(
                {"auth-provider": {"name": "oidc", "config": {"id-token": f"a\n{SECRET}"}}}
            ),
            "the user of the kubeconfig",
        ),
        (lambda c: user(c).update(username="ann", password=SECRET), "by user and password"),
        (lambda c: user(c).update({"auth-provider": {"name": "gcp"}}), "auth-provider gcp"),
        (lambda c: user(c).update({"auth-provider": {"name": "oidc"}}), "auth-provider oidc"),
        (lambda c: user(c).update(exec={"command": "true"}), "needs apiVersion and command"),
        (
            lambda c: user(c).update(exec={"apiVersion": ENVELOPE, "command": "cat", "args": [1]}),
            "put numbers in quotes, or log in again so that `kubectl",
        ),
        (lambda c: cluster(c).update({"proxy-url": "what://x"}), "found 'what://x'"),
        (lambda c: cluster(c).update(server="http://127.0.0.1:99999"), "https://HOST:PORT, found"),
        (lambda c: cluster(c).update(server="http://[::1]:65536"), "found 'http://[::1]:65536'"),
        (
            lambda c: cluster(c).update({"proxy-url": "http://127.0.0.1:99999"}),
            "have a port up to 65535",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_in_it(
    config: dict[str, Any], file: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    """The file is named, and what to do."""
    change(config)
    file.write_text(yaml.safe_dump(config))
    text = refused()
    assert words in text
    assert str(file) in text
    assert "kubectl" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"users: [{SECRET}", "is not YAML (line 1, column"),
        (f"a:\n  token: {SECRET}\n b: {SECRET}", "is not YAML (line 3, column 2)"),
        ("\x00", "is not YAML"),
        ("", "holds no clusters, users and contexts"),
        ("- a", "holds no clusters, users and contexts"),
    ],
)
def test_a_file_that_is_none(file: Path, text: str, words: str) -> None:
    """The line that is wrong is not shown: a token may be on it."""
    file.write_text(text)
    assert words in (found := refused())
    assert str(file) in found


def test_a_file_of_bytes(file: Path) -> None:
    """Such as an archive."""
    file.write_bytes(b"\xff\xfe\x00")
    assert f"the kubeconfig {file} is not YAML" in refused()


def test_a_file_that_is_not_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a folder; or none is named."""
    assert f"there is no kubeconfig {file}: set KUBECONFIG" in refused()
    file.mkdir()
    assert f"the kubeconfig {file} cannot be read (Is a directory)" in refused()
    monkeypatch.setenv("KUBECONFIG", "")
    assert "KUBECONFIG is empty: set KUBECONFIG" in refused()


def test_a_proxy_that_needs_a_package(
    config: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many desks have such a variable."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    file.write_text(yaml.safe_dump(config))
    assert 'pip install "httpx[socks]"' in refused()


def test_a_pod_without_a_token(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the pod that must be mended."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert "this pod has no token of a service account" in refused()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo 'not logged in as {'x' * 50}' >&2; exit 3", "(exit code 3: not logged in as ***)"),
        (f"echo 'no: password={SECRET} was refused' >&2; exit 1", "password=*** was refused)"),
        (f"echo 'no: my_token : {SECRET}' >&2; exit 1", "(exit code 1: no: my_token : ***)"),
        (f"""echo '{{"api-key": "a {SECRET}"}}' >&2; exit 1""", '{"api-key": ***}'),
        (f"echo 'Authorization: Bearer {SECRET}' >&2; exit 1", "Authorization: ***)"),
        (f"echo 'ran login --password {SECRET}' >&2; exit 1", "ran login --password ***)"),
        ("echo 'the token has expired' >&2; exit 1", "(exit code 1: the token has expired)"),
        (
            f"""printf %s '{{"status": {{"token": "a\\n{SECRET}"}}}}'""",
            "answered with a token with line breaks or",
        ),
        (
            f"""echo '{{"status": {{"token": "é{SECRET}"}}}}'""",
            "letters that no token has: mend it",
        ),
        ("exit 1", "failed (exit code 1: it wrote nothing)"),
        (f"echo {SECRET}", "answered without a token or a certificate"),
        ("""echo '{"status": {}}'""", "answered without a token or a certificate"),
        ("""echo '[]'""", "answered without a token or a certificate"),
    ],
)
def test_a_program_that_fails(config: dict[str, Any], file: Path, script: str, words: str) -> None:
    """By its name and last words; not with its arguments, nor what it answered."""
    config["users"][0]["user"] = program(file.parent / "login", script)
    file.write_text(yaml.safe_dump(config))
    text = refused()
    assert words in text
    assert f"the program {file.parent}/login, which signs in for the kubeconfig {file}," in text


def test_a_program_of_another_machine(config: dict[str, Any], file: Path) -> None:
    """It is there and does not start."""
    config["users"][0]["user"] = program(file.parent / "login", "")
    (file.parent / "login").write_bytes(b"\x7fELF")
    file.write_text(yaml.safe_dump(config))
    assert "cannot be started (Exec format error)" in refused()


def test_several_files(config: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as one; all that are there are named."""
    users = {"users": config.pop("users")}
    file.write_text(yaml.safe_dump(config))
    more = file.parent / "users"
    monkeypatch.setenv("KUBECONFIG", f"{file}:{file.parent}/none:{more}")
    assert f"of the kubeconfig {file} names the user ann, which is not there" in refused()
    more.write_text(yaml.safe_dump(users))
    connected(None).close()
    more.write_text("users: [")
    assert f"the kubeconfig {more} is not YAML" in refused()


def test_a_program_that_signs_in(config: dict[str, Any], file: Path) -> None:
    """It is asked once; some open a browser."""
    answer = json.dumps({"status": {"token": SECRET}})
    log = file.parent / "log"
    config["users"][0]["user"] = program(file.parent / "login", f"echo . >> {log}\necho '{answer}'")
    file.write_text(yaml.safe_dump(config))
    connected(None).close()
    assert log.read_text() == ".\n"


def test_a_program_that_is_not_there(config: dict[str, Any], file: Path) -> None:
    """With the hint that the file has for that."""
    path = file.parent / "login"
    config["users"][0]["user"] = program(path, "", installHint="brew install\n  login")
    path.unlink()
    file.write_text(yaml.safe_dump(config))
    assert "is not here: install it, or mend PATH (brew install login)" in refused()
    user(config)["exec"]["apiVersion"] = "client.authentication.k8s.io/v1alpha1"
    file.write_text(yaml.safe_dump(config))
    assert "is told to speak v1alpha1, which has ended" in refused()


def test_a_program_that_does_not_end(
    config: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what hangs, and not the API."""
    monkeypatch.setattr(answers, "PATIENCE_S", 0.5)
    config["users"][0]["user"] = program(file.parent / "login", "exec sleep 60")
    file.write_text(yaml.safe_dump(config))
    begun = time.monotonic()
    assert "does not end; it may be asking something" in refused()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, json.dumps({"message": "Unauthorized"}), "it may have expired; log in again"),
        (401, json.dumps({"error": "expired"}), "it may have expired; log in again"),
        (401, "[]", "it may have expired; log in again"),
        (401, "", "it may have expired; log in again"),
        (200, "<html>log in</html>", "is not the API of a Kubernetes cluster"),
        (200, "{}", "is not the API of a Kubernetes cluster"),
        (200, "[]", "is not the API of a Kubernetes cluster"),
        (200, '{"gitVersion": []}', "is not the API of a Kubernetes cluster"),
        (404, "<html>nothing</html>", "is not the API of a Kubernetes cluster"),
        (404, "404 page not found", "is not the API of a Kubernetes cluster"),
        (404, '{"message": "no Route matched"}', "is not the API of a Kubernetes cluster"),
        (403, "<html>no</html>", "connect to the cluster: Kubernetes, or what stands before it, f"),
        (403, "no", "forbids it (HTTP 403 Forbidden from http://127.0.0.1:"),
        (429, "", "answers 429: HTTP 429 Too Many Requests from http://127.0.0.1:"),
        (500, json.dumps({"message": "etcd is lost"}), "Kubernetes answers 500: etcd is lost; try"),
        (503, "<html>sorry</html>", "/version/; try again in a while, and where that lasts, ask"),
        (304, "", "Kubernetes answers 304: HTTP 304 Not Modified from http://127.0.0.1:"),
    ],
)
def test_what_answers(
    config: dict[str, Any], file: Path, server: Any, status: int, body: str, words: str
) -> None:
    """An account that has expired, and what is no Kubernetes."""
    file.write_text(yaml.safe_dump(config))
    server[1].status, server[1].body = status, body
    assert words in (text := refused())
    assert "developer.mozilla.org" not in text
    assert "helm" not in text
    assert "namespace" not in text


@pytest.mark.parametrize(
    ("error", "status"), [(ConnectionError("no way"), 0), (OverflowError("too large"), -1)]
)
def test_several_errors_at_once(file: Path, error: Exception, status: int) -> None:
    """They come in groups from tasks of anyio, which are no answer either."""

    async def fail() -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [error])])

    with pytest.raises(RefusedError) as caught:
        asyncio.run(answers.answered(fail()))
    assert caught.value.status == status


def test_an_account_that_was_not_told() -> None:
    """Rights for nobody are no remedy."""
    text = 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group ""'
    said = refusal(403, text, doing="look for pods", namespace="space")
    assert "was told no account" in said
    assert "Role" not in said


def test_a_certificate_that_is_not_trusted() -> None:
    """Without the words of OpenSSL around it."""
    text = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed (_ssl.c:1016)"
    said = refusal(0, text, doing="look", namespace="space", server="https://a")
    assert "the Kubernetes API at https://a is not trusted (self-signed): the" in said


def test_what_stands_in_the_way(config: dict[str, Any], file: Path, server: Any) -> None:
    """A page to log in, between us and an API that answered before."""
    file.write_text(yaml.safe_dump(config))
    found = connected(None)
    server[1].body = "<html>log in</html>"
    for ask in (found.server_version, found.events, lambda: found.get("pods", "a")):
        with pytest.raises(RefusedError, match="is no object of JSON"):
            ask()
    found.close()


LISTS = {
    "texts": '{"items": ["a"]}',
    "text": '{"items": "abc"}',
    "empty": '{"items": [{}]}',
    "no metadata": '{"metadata": null}',
    "null": '{"items": [{"metadata": null}]}',
    "number": '{"items": [{"metadata": {"name": 1}}]}',
    "status": '{"items": [{"metadata": {"name": "a"}, "status": "abc"}]}',
    "condition": '{"items": [{"metadata": {"name": "a"}, "status": {"conditions": [1]}}]}',
    "deep": '{"items": ' + "[" * 100_000,
    "page": "<html>log in</html>",
}


@pytest.mark.parametrize("body", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("command", ["check", "submit"])
def test_no_objects(
    config: dict[str, Any], file: Path, server: Any, command: str, body: str
) -> None:
    """Who reads the answers need not look whether they are what they must be."""
    file.write_text(yaml.safe_dump(config))
    server[1].elsewhere = (200, body)
    done = run(command)
    assert done.exit_code in (2, 3)
    assert "of a Kubernetes cluster (the answer to GET /api" in done.output
    assert "Traceback" not in done.output
    assert "helm install" not in done.output
    assert "may not" not in done.output


def test_few_words_are_enough(config: dict[str, Any], file: Path, server: Any) -> None:
    """What an object does not tell is not known, and no error."""
    file.write_text(yaml.safe_dump(config))
    kinds = ("daskclusters", "daskjobs", "daskworkergroups", "daskautoscalers")
    told = {"items": [{"metadata": {"name": "a"}}], "resources": [{"name": n} for n in kinds]}
    server[1].elsewhere = (200, json.dumps({**told, "status": {"allowed": True}}))
    assert (
        "the Dask operator is there and not ready: see kubectl logs -n ? a" in run("check").output
    )
    found = connected(None)
    assert [thing["metadata"]["name"] for thing in found.all_of("pods")] == ["a"]
    server[1].elsewhere = (200, '{"items": null}')
    assert found.all_of("pods") == []
    found.close()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("404 page not found\n", "the Dask operator is not installed"),
        ('{"kind": "Status", "message": "could not find"}', "the Dask operator is not installed"),
        ('{"kind": "Status", "message": "pods \\"a\\" not found"}', 'look: pods "a" not found'),
        ('{"detail": "Not Found"}', "is not the API of a Kubernetes cluster (HTTP 404 Not Found"),
        ("<html>nothing</html>", "is not the API of a Kubernetes cluster (HTTP 404 Not Found"),
    ],
)
def test_what_is_not_found(
    config: dict[str, Any], file: Path, server: Any, body: str, words: str
) -> None:
    """Kubernetes says itself that it has no such kind; a web server knows nothing of operators."""
    file.write_text(yaml.safe_dump(config))
    server[1].elsewhere = (404, body)
    found = connected(None)
    with pytest.raises(RefusedError) as caught:
        found.all_of("daskjobs", version="kubernetes.dask.org/v1")
    assert words in str(found.told(caught.value, "look"))
    found.close()


def test_a_version_of_several_lines(config: dict[str, Any], file: Path, server: Any) -> None:
    """It is told in one."""
    server[1].body = json.dumps({"gitVersion": "v1.34.1\n\x1b[2Jok"})
    file.write_text(yaml.safe_dump(config))
    found = connected(None)
    assert found.server_version() == "v1.34.1\\n\\x1b[2Jok"
    found.close()


@pytest.mark.parametrize("error", [ConnectionError("lost"), httpx.ReadError("lost")])
def test_a_way_to_a_pod_that_is_lost(
    config: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is refused, as any request is."""

    @asynccontextmanager
    async def fail(**_: Any) -> AsyncIterator[None]:
        raise ExceptionGroup("tasks", [error])
        yield

    file.write_text(yaml.safe_dump(config))
    found = connected(None)
    monkeypatch.setattr(found._api, "open_websocket", fail)
    with pytest.raises(RefusedError, match="lost") as caught:
        found.try_forwarding("a", 8786)
    assert caught.value.passing
    found.close()


def test_nothing_is_removed_without_a_name(
    config: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes takes that for all objects of the kind."""
    file.write_text(yaml.safe_dump(config))
    found = connected(None)
    monkeypatch.setattr(found, "answer", lambda *_, **__: pytest.fail("asked"))
    found.delete("daskjobs", "", version="v1")
    found.close()


def test_no_key_is_left_behind(
    config: dict[str, Any], file: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where kr8s copies one to a file, once for each time that it signs in."""
    copies = file.parent / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    certificate = f"-----BEGIN CERTIFICATE-----\n{SECRET}\n-----END CERTIFICATE-----"
    user(config)["client-key-data"] = certificate  # of no use without the other one
    file.write_text(yaml.safe_dump(config))
    found = connected(None)
    assert len(list(copies.iterdir())) == 1
    server[1].status, server[1].body = 403, json.dumps({"message": "no"})
    with pytest.raises(RefusedError):
        found.server_version()
    assert len(list(copies.iterdir())) == 1
    found.close()
    assert list(copies.iterdir()) == []


@pytest.mark.parametrize("command", ["check", "submit"])
def test_the_commands_tell_it(config: dict[str, Any], file: Path, command: str) -> None:
    """In one line, and end with 2."""
    context(config)["user"] = "bob"
    file.write_text(yaml.safe_dump(config))
    done = run(command)
    assert done.exit_code == 2
    assert f"of the kubeconfig {file} names the user bob, which is not there" in done.output
    assert len(done.output.splitlines()) == 1
