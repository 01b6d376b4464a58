"""A finite search space for ``skopt.Optimizer``.

Covers :class:`Pool`, the points of all families for one entity, and :class:`FiniteSpace`, of which
only points not yet seen are drawn. Does not cover the search itself (``search``).

``skopt.space.Space`` draws from a product of dimensions, admissible or not, and transforms each
dimension on every call. Here the points are listed once and their coordinates looked up, so that
the acquisition is minimised over every point that is left, and none is proposed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from skopt.space import Categorical
from skopt.space import Space as SkoptSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.models import Family, Space
    from daskcast.models.base import Point
    from daskcast.records import Floats, Scalar

Row = list["Scalar"]

#: how far apart points of two families lie at least, in units of the surrogate's kernel
_APART = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The points of all families for one entity, the best first ones of each in front, in turn.

    Parameters
    ----------
    families : tuple of Family, length n
        Of each point.
    points : tuple of mapping, length n
    codes : ndarray of float64, shape [n, d]
        Coordinates; those of each family lie in dimensions of their own.
    n_portfolio : int
        How many of the leading points are evaluated where nothing is searched.
    """

    families: tuple[Family, ...]
    points: tuple[Point, ...]
    codes: Floats
    n_portfolio: int


@lru_cache(maxsize=256)
def pool(families: tuple[Family, ...], spaces: tuple[Space, ...]) -> Pool:
    """Put the spaces of several families together."""
    first = [[(f, i) for i in range(space.n_portfolio)] for f, space in enumerate(spaces)]
    rest = [
        [(f, i) for i in range(space.n_portfolio, len(space.points))]
        for f, space in enumerate(spaces)
    ]
    order = [*_in_turn(first), *_in_turn(rest)]
    widths = [space.codes.shape[1] + 1 for space in spaces]
    starts = np.cumsum([0, *widths])
    codes = np.zeros((len(order), int(starts[-1])))
    for row, (f, i) in zip(codes, order, strict=True):
        row[starts[f]] = _APART
        row[starts[f] + 1 : starts[f + 1]] = spaces[f].codes[i]
    return Pool(
        tuple(families[f] for f, _ in order),
        tuple(spaces[f].points[i] for f, i in order),
        codes,
        sum(map(len, first)),
    )


def _in_turn(lists: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[int, int]]:
    return [one for one in chain.from_iterable(zip_longest(*lists)) if one is not None]


class _Tables(NamedTuple):
    """What all entities with the same pool share."""

    dimensions: list[Categorical]
    rows: list[Row]
    place: dict[tuple[Scalar, ...], int]
    at_code: dict[bytes, int]


@lru_cache(maxsize=256)
def _tables(points: Pool) -> _Tables:
    """Name each choice; one that a family has not is None."""
    names = list(dict.fromkeys(name for point in points.points for name in point))
    rows: list[Row] = [
        [family.name, *[point.get(name) for name in names]]
        for family, point in zip(points.families, points.points, strict=True)
    ]
    columns = zip(["family", *names], zip(*rows, strict=True), strict=True)
    return _Tables(
        [Categorical(list(dict.fromkeys(c)), name=name, transform="label") for name, c in columns],
        rows,
        {tuple(row): i for i, row in enumerate(rows)},
        {code.tobytes(): i for i, code in enumerate(points.codes)},
    )


class FiniteSpace(SkoptSpace):  # type: ignore[misc]
    """The listed points of a pool.

    Parameters
    ----------
    points : Pool
    """

    def __init__(self, points: Pool) -> None:
        tables = _tables(points)
        super().__init__(tables.dimensions)
        self.codes = points.codes
        self.rows = tables.rows
        self._place = tables.place
        self._at_code = tables.at_code
        self.unseen = dict.fromkeys(range(len(self.rows)))

    def see(self, row: Row) -> int:
        """Note that a point is taken; give its position."""
        position = self._place[tuple(row)]
        self.unseen.pop(position, None)
        return position

    def rvs(self, n_samples: int = 1, random_state: Any = None) -> list[Row]:
        """Draw from the points that are unseen, without replacement; all where they are few."""
        left = list(self.unseen) or [0]
        if len(left) > n_samples:
            left = list(random_state.choice(left, size=n_samples, replace=False))
        return [self.rows[i] for i in left]

    def transform(self, X: Sequence[Row]) -> Floats:
        """Look up the coordinates of points."""
        found: Floats = self.codes[[self._place[tuple(row)] for row in X]]
        return found

    def inverse_transform(self, Xt: Floats) -> list[Row]:
        """Look up the points at coordinates."""
        return [self.rows[self._at_code[np.ascontiguousarray(code).tobytes()]] for code in Xt]

    @property
    def transformed_bounds(self) -> list[tuple[float, float]]:
        """The range of each coordinate."""
        return list(zip(self.codes.min(axis=0), self.codes.max(axis=0), strict=True))

    def distance(self, point_a: Row, point_b: Row) -> float:
        """Give 0 for the same point, 1 for any other."""
        return float(point_a != point_b)

    def __contains__(self, point: object) -> bool:
        """Tell whether a point is listed."""
        return isinstance(point, list) and tuple(point) in self._place
