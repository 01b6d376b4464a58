"""A finite search space for ``skopt.Optimizer``.

Covers :class:`FiniteSpace`: the admissible points of one entity, from which only points not yet
seen are drawn. Does not cover the search itself (``search``).

``skopt.space.Space`` draws from a product of dimensions, admissible or not, and transforms each
dimension on every call. Here the points are listed once and their coordinates looked up, so that
the acquisition is minimised over every point that is left, and none is proposed twice.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from skopt.space import Categorical
from skopt.space import Space as SkoptSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.models import Space
    from daskcast.records import Floats, Scalar

Row = list["Scalar"]


class _Tables(NamedTuple):
    """What all entities with the same space share."""

    dimensions: list[Categorical]
    rows: list[Row]
    place: dict[tuple[Scalar, ...], int]
    at_code: dict[bytes, int]


@lru_cache(maxsize=256)
def _tables(space: Space) -> _Tables:
    rows = [list(point.values()) for point in space.points]
    values = {name: sorted({p[name] for p in space.points}, key=_order) for name in space.points[0]}
    return _Tables(
        [Categorical(values[name], name=name, transform="label") for name in values],
        rows,
        {tuple(row): i for i, row in enumerate(rows)},
        {code.tobytes(): i for i, code in enumerate(space.codes)},
    )


def _order(value: Scalar) -> tuple[bool, str | float]:
    """Sort numbers, then text and what is neither."""
    return (False, value) if isinstance(value, int | float) else (True, str(value))


class FiniteSpace(SkoptSpace):  # type: ignore[misc]
    """The listed points of a family's space.

    Parameters
    ----------
    space : Space
    """

    def __init__(self, space: Space) -> None:
        tables = _tables(space)
        super().__init__(tables.dimensions)
        self.codes = space.codes
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
