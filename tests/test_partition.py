"""Packing: every entity once, no batch too large, the longest work first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.partition import pack

SIZES = st.lists(st.integers(0, 5_000), max_size=400)
WORKERS = st.integers(1, 64)
BATCH_SIZE = st.none() | st.integers(1, 300)


def work(sizes: np.ndarray, batch: np.ndarray) -> int:
    return int(sizes[batch].sum()) + 150 * len(batch)


@given(SIZES, WORKERS, BATCH_SIZE)
def test_every_entity_is_in_exactly_one_batch(sizes, n_workers, batch_size) -> None:
    """No entity is lost, none is worked on twice."""
    batches = pack(np.array(sizes, np.int64), n_workers=n_workers, batch_size=batch_size)
    everyone = np.concatenate([*batches, np.empty(0, np.int64)])
    assert sorted(everyone.tolist()) == list(range(len(sizes)))
    assert all(batch.dtype == np.int64 and len(batch) for batch in batches)


@given(SIZES, WORKERS, BATCH_SIZE)
def test_batches_keep_their_size_and_order(sizes, n_workers, batch_size) -> None:
    """No batch is too large, its positions are neighbours, and the most work comes first."""
    sizes = np.array(sizes, np.int64)
    batches = pack(sizes, n_workers=n_workers, batch_size=batch_size)
    assert all(len(batch) <= (batch_size or 100) for batch in batches)
    assert all((np.diff(batch) == 1).all() for batch in batches)
    loads = [work(sizes, batch) for batch in batches]
    assert loads == sorted(loads, reverse=True)


@given(SIZES, WORKERS, BATCH_SIZE)
def test_packing_is_repeatable_and_leaves_its_input(sizes, n_workers, batch_size) -> None:
    """The same sizes give the same batches, and are not changed."""
    sizes = np.array(sizes, np.int64)
    before = sizes.copy()
    first = pack(sizes, n_workers=n_workers, batch_size=batch_size)
    second = pack(sizes, n_workers=n_workers, batch_size=batch_size)
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]
    np.testing.assert_array_equal(sizes, before)


@pytest.mark.parametrize(
    ("n", "n_workers", "most", "least_batches"),
    [
        (1, 4, 1, 1),
        (4, 4, 1, 4),
        (100, 2, 16, 11),
        (2_000, 2, 100, 20),
        (100_000, 64, 100, 1_000),
        (500_000, 64, 100, 5_000),
    ],
)
def test_default_size_suits_the_run(n, n_workers, most, least_batches) -> None:
    """Small runs feed every worker, large runs fill batches of 200 entities before the last."""
    batches = pack(np.full(n, 120), n_workers=n_workers)
    assert max(map(len, batches)) == most
    assert len(batches) >= least_batches


LENGTHS = {
    "even": np.full(1_500, 120),
    "ascending": np.geomspace(36, 960, 1_500).astype(np.int64),
    "descending": np.geomspace(960, 36, 1_500).astype(np.int64),
    "few_long": np.where(np.arange(1_500) % 100 == 99, 3_600, 120),
}


@pytest.mark.parametrize("n_workers", [2, 8])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_no_worker_waits_long_at_the_end(lengths, n_workers, rng) -> None:
    """Whose cost differs from what is guessed, and a few that are very slow, leave no long tail."""
    cost = (150 + lengths) * rng.lognormal(0, 0.5, len(lengths))
    cost[rng.random(len(lengths)) < 0.01] *= 20
    free = np.zeros(n_workers)
    for batch in pack(lengths, n_workers=n_workers):
        free[free.argmin()] += cost[batch].sum()
    assert (free.max() - free).mean() / free.max() < 0.05


@given(SIZES, WORKERS)
def test_the_last_batches_are_short(sizes, n_workers) -> None:
    """No batch is longer than a third of what is left for a worker, but for a single entity."""
    sizes = np.array(sizes, np.int64)
    batches = pack(sizes, n_workers=n_workers)
    share = work(sizes, np.arange(len(sizes))) / n_workers / 3
    assert all(work(sizes, b) <= share or len(b) <= 8 for b in batches)


def test_long_entities_do_not_share_a_batch() -> None:
    """An entity four hundred times as long as the others ends its batch."""
    sizes = np.full(400, 100)
    sizes[[100, 101]] = 40_000
    batches = pack(sizes, n_workers=2)
    assert not any({100, 101} <= set(batch.tolist()) for batch in batches)
    assert {100, 101} <= {int(x) for batch in batches[:2] for x in batch}


def test_given_size_cuts_evenly() -> None:
    """A size that the user gives is the size of all batches but the last."""
    batches = pack(np.full(10, 5), n_workers=3, batch_size=4)
    assert sorted(batch.tolist() for batch in batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("wrong", [{"n_workers": 0}, {"n_workers": 1, "batch_size": 0}])
def test_senseless_numbers_are_refused(wrong) -> None:
    """No workers or empty batches are a mistake of the caller."""
    with pytest.raises(ValueError, match="at least 1"):
        pack(np.array([1, 2]), **wrong)
