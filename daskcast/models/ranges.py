"""The search space of a model of the user: ranges, and a finite list of points in them.

Covers reading ranges and choices, also of ``skopt.space``, and spreading points over them. Does not
cover the search, which walks through a finite list (``tune``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast.models.base import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daskcast.models.base import Point
    from daskcast.records import Floats, Scalar

#: most points of a space
MOST = 64
_PORTFOLIO = 4
#: draws for one space: a coarse range of whole numbers gives the same point often
_DRAWS = 16 * MOST
LOG = "log-uniform"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values."""

    values: tuple[Scalar, ...]

    @property
    def plain(self) -> list[Scalar]:
        """The range as a user writes it."""
        return list(self.values)

    @property
    def all(self) -> tuple[Scalar, ...]:
        """Every value."""
        return self.values

    def at(self, share: float) -> Scalar:
        """Give the value at a share of the range."""
        return self.values[int(share * len(self.values))]

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of these."""
        return value in self.values

    def code(self, value: Any) -> tuple[float, ...]:
        """Give coordinates: all values are equally far from each other."""
        return tuple(0.7 * (value == other) for other in self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high; whole ones where both are."""

    low: float
    high: float
    log: bool

    @property
    def whole(self) -> bool:
        """Tell whether the numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def plain(self) -> tuple[Scalar, ...]:
        """The range as a user writes it."""
        return (self.low, self.high, LOG) if self.log else (self.low, self.high)

    @property
    def all(self) -> tuple[Scalar, ...] | None:
        """Every number, where they are whole and few."""
        few = self.whole and self.high - self.low < MOST
        return tuple(range(int(self.low), int(self.high) + 1)) if few else None

    def at(self, share: float) -> Scalar:
        """Give the number at a share of the range."""
        if self.log:
            value = self.low * math.exp(share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        if not self.whole:
            return float(value)
        if self.log:
            return round(value)
        return int(self.low) + int(share * (self.high - self.low + 1))

    def holds(self, value: object) -> bool:
        """Tell whether a value is a number that this range could have, inside of it or not."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and (not self.log or value > 0)  # type: ignore[arg-type, operator]

    def code(self, value: Any) -> tuple[float, ...]:
        """Give the coordinate: the range is two units wide."""
        if self.log:
            return (2.0 * math.log(value / self.low) / math.log(self.high / self.low),)
        return (2.0 * (value - self.low) / (self.high - self.low),)


def ranges_of(space: Any) -> tuple[dict[str, Choice | Range], list[str]]:
    """Read a search space.

    Parameters
    ----------
    space : mapping of str to list, tuple or skopt dimension

    Returns
    -------
    ranges : dict
    problems : list of str
        One sentence for each entry that cannot be read.

    Examples
    --------
    >>> ranges_of({"alpha": (0.01, 1.0, "log-uniform"), "kind": ["a", "b"]})[0]["kind"].values
    ('a', 'b')
    """
    if not isinstance(space, Mapping):
        return {}, [f"expected a mapping of parameters to ranges, found {space!r}"]
    ranges, problems = {}, []
    for name, given in space.items():
        found = _range_of(_written(given))
        if found is None:
            problems.append(
                f"{name} must be a list of plain values, (low, high) or (low, high, '{LOG}') with "
                f"low below high, found {given!r}"
            )
        else:
            ranges[str(name)] = found
    return ranges, problems


def _written(given: Any) -> Any:
    """Write a dimension of skopt as a user would; by its attributes, so that it is not imported."""
    if hasattr(given, "categories"):
        return list(given.categories)
    if not (hasattr(given, "low") and hasattr(given, "high")):
        return given
    kind = int if type(given).__name__ == "Integer" else float
    ends = (kind(given.low), kind(given.high))
    return (*ends, LOG) if getattr(given, "prior", "") == LOG else ends


def _range_of(given: Any) -> Choice | Range | None:
    if isinstance(given, list):
        values = tuple(_plain(value) for value in given)
        plain = all(isinstance(value, str | int | float | bool | None) for value in values)
        return Choice(values) if values and plain and len(set(values)) == len(values) else None
    match given:
        case (low, high) | (low, high, "uniform"):
            return _numbers(_plain(low), _plain(high), log=False)
        case (low, high, "log-uniform"):
            return _numbers(_plain(low), _plain(high), log=True)
    return None


def _numbers(low: Any, high: Any, *, log: bool) -> Range | None:
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in (low, high)):
        return None
    fits = math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log)
    return Range(low, high, log) if fits else None


def _plain(value: Any) -> Any:
    """Give the plain value of a scalar of numpy."""
    return value.item() if isinstance(value, np.generic) else value


def points_of(ranges: Mapping[str, Choice | Range], first: Mapping[str, Any]) -> Space:
    """Spread points over a search space.

    All of it where it is finite and has no more than 64 points, else 64 points of a sequence that
    fills the space evenly: multiples of the powers of a generalised golden ratio (Roberts, 2018).

    Parameters
    ----------
    ranges : mapping of str to Choice or Range
    first : mapping
        The point in front, where its values are of these ranges.

    Returns
    -------
    Space
    """
    found: dict[tuple[Scalar, ...], None] = {}
    own = tuple(_plain(first[name]) for name in ranges)
    if all(one.holds(value) for one, value in zip(ranges.values(), own, strict=True)):
        found[own] = None
    for values in _candidates(list(ranges.values())):
        if len(found) == MOST:
            break
        found.setdefault(values)
    points = tuple(dict(zip(ranges, values, strict=True)) for values in found)
    codes = np.array([_code(ranges, point) for point in points])
    return Space(points, codes, n_portfolio=min(_PORTFOLIO, len(points)))


def _candidates(ranges: list[Choice | Range]) -> Iterator[tuple[Scalar, ...]]:
    every = [one.all for one in ranges]
    listed = [values for values in every if values is not None]
    if len(listed) == len(ranges) and math.prod(map(len, listed)) <= MOST:
        grid = list(itertools.product(*listed))
        # evenly through the grid, not along one edge of it: a step that shares no factor with it
        step = next(
            s
            for s in range(max(1, round(0.618 * len(grid))), len(grid) + 1)
            if math.gcd(s, len(grid)) == 1
        )
        yield from (grid[(i * step) % len(grid)] for i in range(len(grid)))
        return
    for shares in _even(_DRAWS, len(ranges)):
        yield tuple(one.at(float(share)) for one, share in zip(ranges, shares, strict=True))


def _even(n: int, d: int) -> Floats:
    """Give points [n, d] that fill the unit cube evenly."""
    ratio = 2.0
    for _ in range(64):  # the root of x ** (d + 1) = x + 1
        ratio = (1.0 + ratio) ** (1.0 / (d + 1))
    steps = ratio ** -np.arange(1.0, d + 1.0)
    shares: Floats = (0.5 + np.arange(1.0, n + 1.0)[:, None] * steps) % 1.0
    return shares


def _code(ranges: Mapping[str, Choice | Range], point: Point) -> tuple[float, ...]:
    return tuple(x for name, one in ranges.items() for x in one.code(point[name]))
