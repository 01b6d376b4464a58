"""The finite space, as ``skopt.Optimizer`` meets it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skopt.space import Space as SkoptSpace

from daskcast.models import CES, ETS, Naive, Space, Theta, view_of
from daskcast.tune.space import FiniteSpace, pool

VIEW = view_of(1.0 + np.arange(60.0), 12, 6)
ALL = (ETS(), Theta(), CES())
ETS_SPACE = ETS().space(VIEW)
ETS_POOL = pool((ETS(),), (ETS_SPACE,))
POOL = pool(ALL, tuple(family.space(VIEW) for family in ALL))


@pytest.fixture
def finite():
    """Give the space of exponential smoothing with nothing seen."""
    return FiniteSpace(POOL)


def test_it_is_a_space_of_skopt(finite):
    """It is a ``skopt.space.Space`` with one named dimension for each choice."""
    assert isinstance(finite, SkoptSpace)
    names = [dimension.name for dimension in finite.dimensions]
    assert names == ["family", "error", "trend", "season", "power", "criterion", "method"]
    assert len(finite.rows) == len(POOL.points)


def test_every_point_is_found_by_row_and_by_code(finite):
    """Rows become the codes of the space, and codes the rows again."""
    codes = finite.transform(finite.rows)
    np.testing.assert_array_equal(codes, POOL.codes)
    assert finite.inverse_transform(codes) == finite.rows
    assert finite.inverse_transform(np.asfortranarray(codes)[::-1]) == finite.rows[::-1]
    assert [finite.see(row) for row in finite.rows] == list(range(len(finite.rows)))


def test_only_listed_points_are_inside(finite):
    """A combination that is not admissible is outside, though each choice is known."""
    assert all(row in finite for row in finite.rows)
    assert ["ets", "A", "N", "A", 1.0, "likelihood", None] in finite
    assert ["ets", "A", "N", "M", 1.0, "likelihood", None] not in finite
    assert ["ets", "A", "N", "A", 1.0, "likelihood", "dynamic"] not in finite
    assert tuple(finite.rows[0]) not in finite


@given(data=st.data(), n_samples=st.integers(1, 200))
def test_draws_are_unseen_and_without_repetition(data, n_samples):
    """As many points as asked for or left are drawn, none seen before, none twice."""
    finite = FiniteSpace(POOL)
    places = range(len(finite.rows))
    seen = data.draw(st.sets(st.sampled_from(places), max_size=len(places) - 1))
    for place in seen:
        finite.see(finite.rows[place])
    seed = data.draw(st.integers(0, 2**32 - 1))
    drawn = finite.rvs(n_samples, random_state=np.random.RandomState(seed))
    found = [finite.rows.index(row) for row in drawn]
    assert len(found) == len(set(found)) == min(n_samples, len(places) - len(seen))
    assert not seen & set(found)
    again = finite.rvs(n_samples, random_state=np.random.RandomState(seed))
    assert again == drawn


def test_every_point_can_be_drawn(finite):
    """No point is out of reach."""
    state = np.random.RandomState(0)
    drawn = {tuple(row) for _ in range(60) for row in finite.rvs(20, random_state=state)}
    assert drawn == {tuple(row) for row in finite.rows}


def test_nothing_left_is_no_error(finite):
    """Where all is seen something is drawn still, because skopt draws after the last trial."""
    for row in finite.rows:
        finite.see(row)
    assert not finite.unseen
    assert finite.rvs(5, random_state=np.random.RandomState(0)) == [finite.rows[0]]


def test_what_is_drawn_is_plain(finite):
    """Points are of Python's own types: JSON takes them, and ``type`` says so."""
    for row in finite.rvs(300, random_state=np.random.RandomState(3)):
        assert {type(value) for value in row} <= {str, float, type(None)}
        json.dumps(row)


def test_searches_do_not_share_what_they_saw():
    """Two entities share tables, not what was seen."""
    one, other = FiniteSpace(POOL), FiniteSpace(POOL)
    one.see(one.rows[5])
    assert 5 not in one.unseen
    assert 5 in other.unseen
    assert len(other.unseen) == len(other.rows)


def test_distance_and_bounds():
    """Two points are equal or not; bounds are those of the codes."""
    space = Space(({"a": 1}, {"a": 2}, {"a": 4}), np.array([[0.0], [-1.0], [3.0]]), 1)
    finite = FiniteSpace(pool((Naive(),), (space,)))
    assert finite.transformed_bounds[1:] == [(-1.0, 3.0)]
    assert finite.distance(["naive", 1], ["naive", 1]) == 0.0
    assert finite.distance(["naive", 1], ["naive", 2]) == 1.0


def test_families_take_turns_and_lie_apart():
    """The first points of a pool are those of each family in turn, the portfolio in front."""
    names = [family.name for family in POOL.families]
    assert names[:6] == ["ets", "theta", "ces"] * 2
    spaces = {family.name: family.space(VIEW) for family in ALL}
    for family, space in spaces.items():
        mine = [p for n, p in zip(names, POOL.points, strict=True) if n == family]
        assert mine == list(space.points)
        assert names[: POOL.n_portfolio].count(family) == space.n_portfolio
    gaps = np.linalg.norm(POOL.codes[:, None] - POOL.codes[None], axis=2)
    other = np.array(names)[:, None] != np.array(names)[None]
    assert gaps[other].min() > 1.0


def test_one_family_is_told_apart_as_by_itself():
    """In a pool of one family distances are the family's own."""
    own = np.linalg.norm(ETS_SPACE.codes[:, None] - ETS_SPACE.codes[None], axis=2)
    pooled = np.linalg.norm(ETS_POOL.codes[:, None] - ETS_POOL.codes[None], axis=2)
    np.testing.assert_allclose(pooled, own)
