"""The exception tree: every class travels between processes."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cloudpickle
import pytest

from daskcast import errors
from daskcast.errors import ClusterError, ConfigError, DaskcastError, DataError, StoreError

TREE = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, BaseException) and not name.startswith("_")
}
SEVERAL = [ConfigError, DataError, StoreError, ClusterError]
PROBLEMS = ("column 'y' is missing", "h must be above 0, found -1", "Zürich ✈: {}%s\nsecond line")


def test_the_tree_is_the_one_drawn():
    """Every public class stands in the drawing of the docstring, and the other way round."""
    drawn = {
        word for line in errors.__doc__.splitlines() for word in line.split() if "Error" in word
    }
    assert {word for word in drawn if word.isidentifier()} == set(TREE)
    assert all(issubclass(one, DaskcastError) for one in TREE.values())


def test_there_are_few_of_them():
    """A class only where a caller would act differently."""
    assert len(TREE) <= 8


@pytest.mark.parametrize("module", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", TREE.values(), ids=TREE)
def test_every_error_survives_pickling(cls, protocol, module):
    """Class, arguments and message come back as they were."""
    error = cls("one thing is wrong: Zürich ✈")
    back = pickle.loads(module.dumps(error, protocol=protocol))
    assert type(back) is cls
    assert (back.args, str(back)) == (error.args, str(error))


@pytest.mark.parametrize("cls", [ClusterError, StoreError])
def test_that_it_may_pass_survives_pickling(cls):
    """Workers and threads hand errors on."""
    error = cls("one", "two", may_pass=True)
    back = pickle.loads(pickle.dumps(error))
    assert back.may_pass
    assert back.problems == ("one", "two")
    assert not cls("one").may_pass


@pytest.mark.parametrize("cls", SEVERAL)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_several_problems_survive_pickling(cls, n):
    """All problems come back, in their order, with the same message."""
    error = cls(*PROBLEMS[:n])
    back = pickle.loads(pickle.dumps(error))
    assert back.problems == error.problems == PROBLEMS[:n]
    assert str(back) == str(error)
    assert repr(back) == repr(error)


def test_causes_and_notes_are_kept_with_the_message():
    """A note that was added travels too."""
    error = DataError(*PROBLEMS)
    error.add_note("while reading airports.csv")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while reading airports.csv"]


@pytest.mark.parametrize("cls", SEVERAL)
def test_the_message_tells_every_problem_once(cls):
    """One problem is the message itself; several are counted and listed."""
    assert str(cls(PROBLEMS[0])) == PROBLEMS[0]
    message = str(cls(*PROBLEMS))
    assert message.startswith("3 problems:\n  - ")
    assert all(message.count(problem) == 1 for problem in PROBLEMS)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        *((name, ValueError) for name in ("ConfigError", "DataError", "StoreError")),
        *((name, ValueError) for name in ("ClusterError", "EntityError")),
        *((name, RuntimeError) for name in ("StoppedError", "TrackingError")),
    ],
)
def test_each_is_also_a_built_in_error(cls, builtin):
    """Who catches the built-in kind catches ours."""
    with pytest.raises(builtin):
        raise TREE[cls]("x")


def raise_in_another_process(name: str) -> None:
    """Raise an error with several problems."""
    raise TREE[name](*PROBLEMS)


@pytest.mark.parametrize("name", ["ConfigError", "EntityError"])
def test_an_error_of_another_process_is_the_same_error(name):
    """Raised in a worker process, it arrives whole in the parent."""
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(TREE[name]) as caught,
    ):
        pool.submit(raise_in_another_process, name).result(timeout=60)
    assert caught.value.args == PROBLEMS
