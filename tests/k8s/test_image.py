"""Tests of the container images: what their files promise, and a worker in a real one.

The last ones start containers from unpacked images, without an engine: as root, with
``DASKCAST_IMAGE_ROOTFS`` and ``DASKCAST_SERVER_ROOTFS`` naming the ``rootfs`` folders that
``.ci/image/build`` and ``.ci/image/unpack`` leave, such as::

    .ci/image/build && .ci/image/unpack daskcast:latest /tmp/worker
    DASKCAST_IMAGE_ROOTFS=/tmp/worker/rootfs pytest tests/k8s/test_image.py
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import time
import tomllib
import urllib.request
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / ".ci" / "image"
BAR_S = 5.0
"""From a worker's start to its first answer."""

pytestmark = pytest.mark.k8s


def stages() -> dict[str, list[str]]:
    """Read the Dockerfile: the instructions of each stage, each on one line."""
    text = (IMAGE / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    name = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("FROM "):
            name = line.split()[-1]
        found.setdefault(name, []).append(line)
    return found


def instructions(stage: str, kind: str) -> list[str]:
    return [line.removeprefix(kind).strip() for line in stages()[stage] if line.startswith(kind)]


def locked(name: str) -> dict[str, str]:
    """Read a lock file: the release of each package."""
    text = (IMAGE / name).read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))


def asked() -> list[Requirement]:
    """Give what the image of workers must have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"]]


def inputs(name: str) -> list[Requirement]:
    lines = (IMAGE / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


# -- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["worker", "server"])
def test_runs_as_an_ordinary_user_of_group_0(stage: str) -> None:
    """Kubernetes can tell that it is not root only from a number; any uid has group 0."""
    assert instructions(stage, "USER ") == ["1000:0"]


@pytest.mark.parametrize("stage", ["worker", "server"])
def test_final_stages_only_copy(stage: str) -> None:
    """Nothing is installed where it stays: no compiler, no pip, no lists of packages."""
    assert not instructions(stage, "RUN ")


@pytest.mark.parametrize("stage", ["worker", "server"])
def test_says_what_it_is_and_how_it_is(stage: str) -> None:
    """Labels name the versions, and there is a health check."""
    [labels] = instructions(stage, "LABEL ")
    assert "org.opencontainers.image.version=" in labels
    assert "daskcast.version.python=" in labels
    assert len(instructions(stage, "HEALTHCHECK ")) == 1


def test_kernels_are_for_one_kind_of_cpu() -> None:
    """Name and features are both fixed, else numba takes the features of the CPU it finds."""
    [env] = instructions("one-cpu", "ENV ")
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_CACHE_DIR"):
        assert f"{name}=" in env
    for stage in ("packages", "worker"):
        assert stages()[stage][0].startswith("FROM one-cpu ")


def test_the_context_has_what_is_copied() -> None:
    """What the Dockerfile copies is there, and .dockerignore lets it through."""
    let_through = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copies = [c for stage in stages() for c in instructions(stage, "COPY ")]
    sources = [s for c in copies if not c.startswith("--from") for s in c.split()[:-1]]
    assert len(sources) > 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, kept) or source.startswith(f"{kept}/") for kept in let_through)


@pytest.mark.parametrize(
    "lock", ["requirements.lock", "requirements-server.lock", "requirements-build.lock"]
)
def test_locked_by_hash(lock: str) -> None:
    """Each package has a release and hashes."""
    text = (IMAGE / lock).read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+ .*\\\n +--hash=sha256:[0-9a-f]{64}", entry), entry[:200]


def test_no_index_is_named() -> None:
    """Where packages come from is a matter of who builds."""
    for path in [*IMAGE.rglob("*"), ROOT / ".dockerignore"]:
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text()
            assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text), path


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", [*asked(), *inputs("requirements.in")]),
        ("requirements-server.lock", inputs("requirements-server.in")),
        ("requirements-build.lock", inputs("requirements-build.in")),
    ],
)
def test_what_is_asked_for_is_locked(lock: str, wanted: list[Requirement]) -> None:
    """The lock files follow pyproject.toml; if not, run .ci/image/lock."""
    found = locked(lock)
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        assert name in found, f"{name} is missing: run .ci/image/lock"
        assert requirement.specifier.contains(found[name]), f"{name}: run .ci/image/lock"


def test_both_images_agree() -> None:
    """A driver and its server speak the same MLflow."""
    worker, server = locked("requirements.lock"), locked("requirements-server.lock")
    common = worker.keys() & server.keys()
    assert "mlflow" in common
    assert {name: worker[name] for name in common} == {name: server[name] for name in common}


# -- scripts -----------------------------------------------------------------------------------


def engines(tmp_path: Path, **scripts: str) -> dict[str, str]:
    """Give an environment with engines that are made up; those that are not named do not work."""
    folder = tmp_path / "engines"
    folder.mkdir()
    for name in ("docker", "podman", "buildah"):
        file = folder / name
        file.write_text(f"#!/bin/sh\n{scripts.get(name, 'exit 1')}\n")
        file.chmod(0o755)
    env = {name: text for name, text in os.environ.items() if name != "ENGINE"}
    return {**env, "PATH": f"{folder}:{env['PATH']}", "SAID": str(tmp_path / "said")}


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_each_engine_is_found(name: str, tmp_path: Path) -> None:
    """What sources this ends at the first command that fails: this must be none of them."""
    told = 'set -euo pipefail; . "$1"; echo "$engine ${BUILDAH_ISOLATION:-}"'
    env = {**engines(tmp_path, **{name: "exit 0"}), "BUILDAH_ISOLATION": ""}
    call = ["bash", "-c", told, "bash", str(IMAGE / "engine")]
    done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [name, "chroot"][: 1 + (name == "buildah")]


def test_no_engine_is_said(tmp_path: Path) -> None:
    call = ["bash", str(IMAGE / "unpack"), "i", str(tmp_path / "to")]
    env = engines(tmp_path)
    done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "no docker with a running daemon" in done.stderr


_ENGINE = """\
echo "$@" >> "$SAID"
case $1 in
  create) echo made ;;
  export) tar -C "$(dirname "$0")" -c docker ;;
  run) echo 3.11.9 ;;
  image) echo 4096 ;;
esac
"""


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_scripts_come_to_their_end(name: str, tmp_path: Path) -> None:
    """With engines other than buildah too, which the image was not built by here."""
    env = {**engines(tmp_path, **{name: _ENGINE}), "REPOSITORY": "host/"}
    settings: dict[str, Any] = {"env": env, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([str(IMAGE / "build"), "worker"], check=False, **settings)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"host/daskcast:\S+: \d+ s, 4.\dK\n", done.stdout)
    call = [str(IMAGE / "unpack"), "host/daskcast:latest", str(tmp_path / "to")]
    done = subprocess.run(call, check=False, **settings)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to" / "rootfs" / "docker").exists()
    assert (tmp_path / "to" / "config.json").read_text() == "4096\n"
    said = (tmp_path / "said").read_text()
    assert " --target worker " in said
    assert "PYTHON_VERSION=3.11.9" in said
    assert said.endswith("rm made\n")


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Give the entry point, with baked kernels in a folder of the test."""
    baked = tmp_path / "baked" / "models_0123"
    baked.mkdir(parents=True)
    (baked / "kernel.nbi").write_text("as baked")
    os.utime(baked / "kernel.nbi", (1_000_000_000, 1_000_000_000))
    script = tmp_path / "start"
    text = (IMAGE / "bin" / "start").read_text()
    assert "baked=/opt/numba-cache\n" in text
    script.write_text(text.replace("/opt/numba-cache", str(baked.parent)))
    return script


def started(start: Path, cache: Path, *command: str) -> tuple[int, str, str]:
    """Run the entry point; give its process number, and what was said."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    pipe = subprocess.PIPE
    call = ["sh", str(start), *command]
    with subprocess.Popen(call, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return process.pid, out, err


def test_start_becomes_the_command(start: Path, tmp_path: Path) -> None:
    """The command has the process number of the entry point, so signals reach it; and its words."""
    told = "import os, sys; print(os.getpid(), sys.argv[1:])"
    pid, out, err = started(start, tmp_path / "cache", sys.executable, "-c", told, "a b", "", "*")
    assert out == f"{pid} ['a b', '', '*']\n"
    assert err == ""


def test_start_fills_the_cache(start: Path, tmp_path: Path) -> None:
    """Kernels are there with the times they had."""
    started(start, tmp_path / "cache", "true")
    filled = tmp_path / "cache" / "models_0123" / "kernel.nbi"
    assert filled.read_text() == "as baked"
    assert filled.stat().st_mtime == 1_000_000_000
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["models_0123"]


def test_start_keeps_what_is_there(start: Path, tmp_path: Path) -> None:
    """A container that starts again in its pod goes on with its kernels."""
    started(start, tmp_path / "cache", "true")
    filled = tmp_path / "cache" / "models_0123" / "kernel.nbi"
    filled.write_text("newer")
    started(start, tmp_path / "cache", "true")
    assert filled.read_text() == "newer"


def test_start_without_a_cache(start: Path, tmp_path: Path) -> None:
    """What needs no kernels works without; the message names the folder."""
    (tmp_path / "file").touch()
    _, out, err = started(start, tmp_path / "file" / "cache", "echo", "done")
    assert out == "done\n"
    assert f"NUMBA_CACHE_DIR={tmp_path}/file/cache cannot be written" in err


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_shims(role: str, tmp_path: Path) -> None:
    """The names that Dask's operator knows call what distributed has."""
    fake = tmp_path / "dask"
    fake.write_text('#!/bin/sh\necho "$#" "$@"\n')
    fake.chmod(0o755)
    shim = IMAGE / "bin" / f"dask-{role}"
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    call = [str(shim), "--host", "a b"]
    done = subprocess.run(call, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"3 {role} --host a b\n"


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("python /opt/venv/bin/dask scheduler --host 0.0.0.0", 8787),
        ("python /opt/venv/bin/dask scheduler --dashboard-address=:9000", 9000),
        ("python /opt/venv/bin/dask worker --name a --dashboard --dashboard-address 8788", 8788),
        ("python /opt/venv/bin/dask worker tcp://a:8786", None),
        ("python /opt/venv/bin/dask worker tcp://a:8786 --dashboard-address :0", None),
        ("python /opt/venv/bin/daskcast run data.csv --horizon 12", None),
        ("python /opt/venv/bin/mlflow server --host 0.0.0.0", 5000),
        ("python /opt/venv/bin/mlflow server --port 80", 80),
    ],
)
def test_health_is_asked_where_it_is_told(command: str, port: int | None) -> None:
    """Each role has its page; what has none is well while it runs."""
    healthy = runpy.run_path(str(IMAGE / "healthy.py"))
    assert healthy["port_of"](command.split()) == port


# -- containers --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def try_out() -> ModuleType:
    spec = importlib.util.spec_from_file_location("try_out", IMAGE / "try_out.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unpacked(variable: str) -> Path:
    """Give the folder that a variable names, or skip."""
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"{variable} names no unpacked image; see .ci/image/unpack")
    if os.getuid() != 0:
        pytest.skip("only root can start a container without an engine")
    return Path(named).resolve()


@pytest.fixture
def rootfs() -> Path:
    return unpacked("DASKCAST_IMAGE_ROOTFS")


@pytest.mark.parametrize("user", ["1000:0", "1000920000:0"])
def test_first_answer_of_a_worker(try_out: ModuleType, rootfs: Path, user: str) -> None:
    """Under a read-only root, as any user: no kernel is compiled, and the answer comes at once."""
    found: dict[str, Any] = try_out.first_answers(rootfs, n=3, user=user)
    assert found["kernels_compiled"] == [0, 0, 0]
    assert min(found["kernels_loaded"]) > 5
    assert {answer["status"] for answer in found["answers"]} == {"ok"}
    assert len({tuple(answer["mean"]) for answer in found["answers"]}) == 1
    assert median(found["seconds"]) < BAR_S
    assert found["exit_codes"] == [0, 0, 0]
    assert max(found["stop_s"]) < 15


def test_a_scheduler_is_healthy(try_out: ModuleType, rootfs: Path) -> None:
    """The health check follows the command's port, and notices when there is no answer."""
    port, page = str(try_out.free_port()), try_out.free_port()
    command = ("dask-scheduler", "--port", port, "--dashboard-address", f"127.0.0.1:{page}")
    with try_out.Container(rootfs, *command) as scheduler:
        scheduler.wait_for("Scheduler at")
        assert scheduler.run("/usr/local/bin/healthy").returncode == 0
        code, seconds = scheduler.stop()
    assert code == 0
    assert seconds < 15


def test_the_command(try_out: ModuleType, rootfs: Path) -> None:
    """A driver's image has the command, and what the operator's client needs."""
    told = "import dask_kubernetes.operator, s3fs, mlflow; print('all there')"
    with try_out.Container(rootfs, "daskcast", "--version") as command:
        command.wait_for(r"\d+\.\d+\.\d+")
    with try_out.Container(rootfs, "python", "-W", "error::ImportWarning", "-c", told) as imports:
        imports.wait_for("all there")


def test_the_server_takes_runs_in_bulk(try_out: ModuleType) -> None:
    """The image of the server answers at its own page and at daskcast's route."""
    rootfs = unpacked("DASKCAST_SERVER_ROOTFS")
    port = try_out.free_port()
    command = ["mlflow", "server", "--app-name", "daskcast", "--port", str(port), "--workers", "1"]
    with try_out.Container(rootfs, *command) as server:
        server.wait_for("Application startup complete")
        assert server.run("/usr/local/bin/healthy").returncode == 0
        at = f"http://127.0.0.1:{port}"
        route = "/api/2.0/daskcast/runs?experiment_id=0"
        with urllib.request.urlopen(at + route, timeout=30) as answer:
            assert json.load(answer)["max_runs"] > 0
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 30
