"""Options: all problems at once, unknown names refused, a stable hash."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.config import ForecastConfig, RunOptions, read_toml
from daskcast.errors import ConfigError

#: each option of a forecast with another valid value
OTHERS = {
    "h": 13,
    "id_col": "airport",
    "time_col": "month",
    "target_col": "passengers",
    "freq": "MS",
    "season_length": 12,
    "level": (80, 90),
    "search": "portfolio",
    "trials": 25,
    "search_seconds": 1.5,
    "cv_windows": 4,
    "step_size": 3,
    "loss": "rmsse",
    "select": "best",
    "models": ("ets", "naive"),
    "seed": 1,
    "gaps": "fail",
    "duplicates": "sum",
    "non_negative": True,
    "n_windows": 3,
    "backtest_step": 6,
    "refit": 2,
    "input_size": 48,
}
#: options and values that are wrong, each alone
WRONG = [
    *(("h", value) for value in (0, -1, 1.5, "12", True, None, math.nan)),
    *(("trials", value) for value in (0, 2.0, None)),
    *(("step_size", value) for value in (0, "3")),
    ("season_length", 0),
    *(("cv_windows", value) for value in (-1, None)),
    ("seed", -1),
    *(("search_seconds", value) for value in (0, -1.0, math.nan, "5", True)),
    *((name, "other") for name in ("search", "loss", "select", "gaps", "duplicates")),
    ("search", None),
    *(("models", value) for value in ((), "ets", None)),
    *(("level", value) for value in ((), (0,), (80, 100), ("80",), (math.nan,), (80, 80.0), 80)),
    *(("level", value) for value in (None, (True,))),
    *(("id_col", value) for value in ("ds", "y", 3, None)),
    ("freq", 1),
    *(("n_windows", value) for value in (-1, None, 2.0, True)),
    *((name, value) for name in ("backtest_step", "input_size") for value in (0, "3")),
    *(("refit", value) for value in (0, -1, 1.5, None, "no")),
]
WRONG_RUN = [
    *(("workers", value) for value in (0, -1, 2.5, "2", True)),
    *(("threads_per_worker", value) for value in (0, None)),
    ("batch_size", 0),
    *(("max_failed", value) for value in (-0.1, 1.1, math.nan, "0.2", None)),
    *(("cluster", value) for value in ("spark", "http://host", 3, "")),
    ("track_detail", "all"),
    ("experiment", 3),
    *((name, "no") for name in ("resume", "strict", "tracking")),
    *(("tags", value) for value in ("team", {"team": 3}, {3: "team"})),
]


def named(cases):
    """Give parameters with an id of their own each."""
    return [pytest.param(*case, id=f"{case[0]} {case[1]!r} {i}") for i, case in enumerate(cases)]


# -- problems ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), named(WRONG))
def test_a_wrong_value_is_named_with_what_was_found(name, value):
    """The message names the option, and a value that is wrong."""
    with pytest.raises(ConfigError) as caught:
        ForecastConfig(**{"h": 12, name: value})
    [problem] = caught.value.problems
    assert name in problem
    if not isinstance(value, tuple):
        assert repr(value) in problem


@pytest.mark.parametrize(("name", "value"), named(WRONG_RUN))
def test_a_wrong_option_of_the_run_is_named(name, value):
    """The message names the option and the value."""
    with pytest.raises(ConfigError) as caught:
        RunOptions(**{name: value})
    [problem] = caught.value.problems
    assert name in problem
    assert repr(value) in problem


def test_every_problem_is_named_at_once():
    """One message for all that is wrong, not one after another."""
    wrong = {
        "h": 0, "trials": 0, "step_size": -2, "season_length": 0, "cv_windows": -1, "seed": "a",
        "search_seconds": -1, "search": "grid", "loss": "mape", "select": "all", "gaps": "fill",
        "duplicates": "drop", "models": (), "level": (101,), "id_col": "y",
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        ForecastConfig(**wrong)
    assert len(caught.value.problems) == len(wrong)
    message = str(caught.value)
    assert message.startswith(f"{len(wrong)} problems:")
    assert not [name for name in wrong if name not in message]


def test_every_problem_of_a_run_is_named_at_once():
    """The options of the run are checked together too."""
    wrong = dict(WRONG_RUN)
    with pytest.raises(ConfigError) as caught:
        RunOptions(**wrong)
    assert len(caught.value.problems) == len(wrong)


def test_choices_are_told():
    """Who names a choice that does not exist is told those that do."""
    with pytest.raises(ConfigError, match="search must be one of skopt, portfolio; found 'grid'"):
        ForecastConfig(h=1, search="grid")
    with pytest.raises(
        ConfigError, match="serial, threads, processes, local, kubernetes, tcp://HOST:PORT or tls"
    ):
        RunOptions(cluster="spark")


@pytest.mark.parametrize(
    "cluster", [None, "serial", "threads", "processes", "local", "tcp://10.0.0.1:8786", "tls://a:1"]
)
def test_executors_are_accepted(cluster):
    """Each executor of the documentation is one."""
    assert RunOptions(cluster=cluster).cluster == cluster


@pytest.mark.parametrize("options", [{}, {"workers": None}, {"max_failed": 0}, {"max_failed": 1}])
def test_limits_are_inside(options):
    """The ends of a range belong to it."""
    RunOptions(**options)
    ForecastConfig(h=1, trials=1, cv_windows=0, seed=0, level=(1, 99.9), step_size=1)


# -- values -----------------------------------------------------------------------------------


def test_every_option_is_tried_here():
    """An option that is added is added to the table of this file."""
    assert set(OTHERS) == {f.name for f in dataclasses.fields(ForecastConfig)}


@pytest.mark.parametrize("cls", [ForecastConfig, RunOptions])
def test_every_option_is_described(cls):
    """The docstring names every option."""
    text = inspect.getdoc(cls)
    assert not [f.name for f in dataclasses.fields(cls) if f.name not in text]


def test_levels_are_sorted_and_plain():
    """Levels ascend, and a whole number is written as one: ``lo-80``, not ``lo-80.0``."""
    config = ForecastConfig(h=1, level=[95.0, 80, 99.5])
    assert config.level == (80, 95, 99.5)
    assert [type(x) for x in config.level] == [int, int, float]


def test_a_config_is_frozen_and_travels():
    """No option changes after the check; a worker gets the same."""
    config = ForecastConfig(**OTHERS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.h = 3
    assert pickle.loads(pickle.dumps(config)) == config


def test_columns_are_the_users():
    """Column names are those that were given."""
    columns = ForecastConfig(**OTHERS).columns
    assert (columns.entity, columns.time, columns.target) == ("airport", "month", "passengers")


def test_options_survive_json():
    """What ``run.json`` holds builds the same options again."""
    for config in (ForecastConfig(h=12), ForecastConfig(**OTHERS)):
        back = ForecastConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert back == config
        assert back.hash == config.hash


@given(
    h=st.integers(1, 1000),
    level=st.lists(st.floats(1, 99.99) | st.integers(1, 99), min_size=1, unique=True),
    seed=st.integers(0, 2**63),
    seconds=st.none() | st.floats(1e-6, 1e6),
)
def test_any_valid_options_survive_json(h, level, seed, seconds):
    """Whatever the values, they come back equal and with the same hash."""
    config = ForecastConfig(h=h, level=level, seed=seed, search_seconds=seconds)
    back = ForecastConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert (back, back.hash) == (config, config.hash)


def test_unknown_names_are_refused_together():
    """Every unknown name is told, and those that are known."""
    with pytest.raises(
        ConfigError, match="unknown options horizon, trails; known are backtest_step"
    ):
        ForecastConfig.from_dict({"h": 12, "trails": 3, "horizon": 12})


# -- hash -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OTHERS)
def test_the_hash_changes_with_every_option(name):
    """Two configurations that differ in anything have two hashes."""
    assert ForecastConfig(**{"h": 12, name: OTHERS[name]}).hash != ForecastConfig(h=12).hash


def test_the_hash_is_that_of_the_meaning():
    """The order of levels and how they are written do not matter."""
    hashes = {
        ForecastConfig(h=12, level=level).hash for level in ([80, 95], (95, 80), (80.0, 95.0))
    }
    assert hashes == {ForecastConfig(h=12).hash}


def test_the_hash_is_the_same_in_any_process():
    """Nothing that varies from one process to the next goes in."""
    code = "from daskcast.config import ForecastConfig; print(ForecastConfig(h=12).hash, end='')"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {ForecastConfig(h=12).hash}
    assert len(found.pop()) == 16


# -- TOML -------------------------------------------------------------------------------------


@pytest.fixture
def toml(tmp_path):
    """Give a function that writes a file and reads it."""

    def read(text: str | bytes):
        path = tmp_path / "daskcast.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_toml(path)

    return read


def test_a_file_names_options_of_both_kinds(toml):
    """Options of forecast and run stand side by side; dashes are as good as underscores."""
    found = toml(
        'h = 12\nid-col = "Flughafen ✈"\nlevel = [80, 95.5]\ncluster = "local"\n'
        'max-failed = 0.5\n[tags]\nteam = "network"\n'
    )
    assert found == {
        "h": 12,
        "id_col": "Flughafen ✈",
        "level": [80, 95.5],
        "cluster": "local",
        "max_failed": 0.5,
        "tags": {"team": "network"},
    }


def test_every_option_may_stand_in_a_file(toml, tmp_path):
    """What is written is what is read, option by option."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in OTHERS.items()]
    assert ForecastConfig.from_dict(toml("\n".join(lines))) == ForecastConfig(**OTHERS)
    names = {f.name for f in dataclasses.fields(RunOptions)}
    assert set(toml("\n".join(f"{name} = 1" for name in names))) == names
    assert toml("") == {}


def test_unknown_names_in_a_file_are_refused(toml):
    """Every unknown name is told, with the file; a table is no option."""
    with pytest.raises(ConfigError) as caught:
        toml("h = 12\ntrails = 3\n[run]\nworkers = 2\n")
    message = str(caught.value)
    for word in ("daskcast.toml", "unknown options run, trails", "trials"):
        assert word in message


@pytest.mark.parametrize("text", ["h = ", "h = 1\nh = 2", b"\xff\xfe", "{}"], ids=repr)
def test_what_is_no_toml_is_refused(text, toml):
    """The message names the file and the place."""
    with pytest.raises(ConfigError, match=r"daskcast\.toml is not TOML"):
        toml(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    """A missing file, or a folder, is named with the reason."""
    with pytest.raises(ConfigError, match=r"cannot read the config file .*none\.toml: No such"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read the config file"):
        read_toml(tmp_path)


@pytest.mark.parametrize("name", ["h", "trials", "season_length", "cv_windows"])
def test_a_slip_of_the_keyboard_is_refused(name):
    """A length that would fill memory is refused with its limit."""
    with pytest.raises(ConfigError, match=f"{name} must be at most 100,000, found 100,001"):
        ForecastConfig(**{"h": 1, name: 100_001})


@pytest.mark.parametrize("level", [0.9, 0.95, 0.001])
def test_levels_that_look_like_shares_are_refused(level):
    """Percent is asked for: the message says what the share would be in percent."""
    with pytest.raises(ConfigError, match=f"percent.*did you mean {100 * level:g}"):
        ForecastConfig(h=1, level=(80, level))


def test_a_file_may_say_horizon(tmp_path):
    """The name of the flag is as good as that of the call, but not both of them."""
    file = tmp_path / "run.toml"
    file.write_text("horizon = 12\n")
    assert read_toml(file) == {"h": 12}
    file.write_text("horizon = 12\nh = 12\n")
    with pytest.raises(ConfigError, match="both h and horizon"):
        read_toml(file)


@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 0), ({"n_windows": 1}, 13), ({"n_windows": 3, "backtest_step": 2}, 17)],
)
def test_how_far_a_backtest_looks_back(options, steps):
    """From the first cutoff, itself included, to the end: no step without a backtest."""
    assert ForecastConfig(h=12, **options).n_seen_again == steps


# -- models that are objects ------------------------------------------------------------------


class Mine:
    """A model of the user."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def fit(self, y, X=None):
        """Do nothing."""

    def predict(self, h, X=None):
        """Do nothing."""


def test_objects_are_described_and_read_back():
    """A configuration with objects is JSON, comes back as descriptions, and keeps its hash."""
    config = ForecastConfig(h=1, models=["ets", Mine(2.0), "my.module:Model"])
    stored = json.loads(json.dumps(config.to_dict()))
    mine = {"class": f"{Mine.__module__}:Mine", "alpha": 2.0}
    assert stored["models"] == ["ets", mine, "my.module:Model"]
    back = ForecastConfig.from_dict(stored)
    assert back.to_dict() == config.to_dict()
    assert back.hash == config.hash != ForecastConfig(h=1, models=["ets", Mine(3.0)]).hash


@pytest.mark.parametrize("model", ["a:", ":b", "a b:c", "a.:b", "1a:b", "nothing", object(), 3, {}])
def test_what_is_no_model_is_named(model):
    """The message names what was found and what there is."""
    with pytest.raises(ConfigError, match=r"which daskcast has not; it has ets.*module:attribute"):
        ForecastConfig(h=1, models=[model])
