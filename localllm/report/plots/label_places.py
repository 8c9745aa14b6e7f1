"""Where the names of points go so that none covers another, a point or an error bar. Geometry only.

Boxes are (left, bottom, right, top) in pixels, y upwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]

_DIRECTIONS = 16
_DISTANCES = (9.0, 16.0, 25.0, 36.0, 50.0, 70.0)  # from the point to the label's nearest edge
_NEAR = 12.0  # a label farther away than this needs a line to its point
_MARGIN = 1.5
_PASSES = 3


@dataclass(frozen=True)
class Place:
    """A label's box, and whether it needs a line to its point."""

    box: Box
    is_far: bool

    @property
    def centre(self) -> tuple[float, float]:
        left, bottom, right, top = self.box
        return (left + right) / 2, (bottom + top) / 2


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    bounds: Box,
) -> list[Place]:
    """Return a place for each point's label of the given width and height, within `bounds` if possible.

    The most crowded points choose first, and all choose again when the others have their places. Each takes
    the place that covers least: other labels and lines to them weigh most, then what leaves the bounds,
    obstacles, and the distance. Deterministic.
    """
    choices = [
        [(place, _fixed_cost(place, point, obstacles, bounds)) for place in _candidates(point, size)]
        for point, size in zip(points, sizes, strict=True)
    ]
    chosen: dict[int, Place] = {}
    order = sorted(range(len(points)), key=lambda each: (-_crowd(points, each), each))
    for _ in range(_PASSES):
        for index in order:
            others = [(points[other], place) for other, place in chosen.items() if other != index]
            costs = [cost + _shared_cost(place, points[index], others) for place, cost in choices[index]]
            chosen[index] = choices[index][costs.index(min(costs))][0]
    return [chosen[index] for index in range(len(points))]


def _fixed_cost(place: Place, point: tuple[float, float], obstacles: Sequence[Box], bounds: Box) -> float:
    """Return how bad a place is, whatever the other labels do."""
    box = _grown(place.box, _MARGIN)
    hidden = sum(_overlap(box, other) for other in obstacles)
    if place.is_far:
        hidden += 2 * sum(_crosses(other, point, place.centre) for other in obstacles)
    outside = _area(place.box) - _overlap(place.box, bounds)
    return 50 * outside + 4 * hidden + 0.8 * _distance(point, place.centre)


def _shared_cost(
    place: Place, point: tuple[float, float], others: Sequence[tuple[tuple[float, float], Place]]
) -> float:
    """Return how much a place is in the way of other labels and their lines, and they of its line."""
    box = _grown(place.box, _MARGIN)
    covered = sum(_overlap(box, other.box) for _, other in others)
    crossed = sum(_crosses(box, begin, other.centre) for begin, other in others if other.is_far)
    if place.is_far:
        crossed += sum(_crosses(other.box, point, place.centre) for _, other in others)
    return 100 * covered + 400 * crossed


def _candidates(point: tuple[float, float], size: tuple[float, float]) -> list[Place]:
    """Return places around a point, the right and the left of it first."""
    places = []
    for distance in _DISTANCES:
        for step in range(_DIRECTIONS):
            angle = 2 * math.pi * step / _DIRECTIONS
            x, y = math.cos(angle), math.sin(angle)
            centre_x = point[0] + x * distance + _sign(x) * size[0] / 2
            centre_y = point[1] + y * distance + _sign(y) * size[1] / 2
            places.append(
                Place(
                    (
                        centre_x - size[0] / 2,
                        centre_y - size[1] / 2,
                        centre_x + size[0] / 2,
                        centre_y + size[1] / 2,
                    ),
                    distance > _NEAR,
                )
            )
    return places


def _sign(value: float) -> float:
    return 0.0 if abs(value) < 1e-9 else math.copysign(1.0, value)


def _crowd(points: Sequence[tuple[float, float]], index: int) -> float:
    """Return how crowded it is around a point."""
    return sum(
        1 / (1 + _distance(points[index], other)) for each, other in enumerate(points) if each != index
    )


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return math.hypot(one[0] - other[0], one[1] - other[1])


def _grown(box: Box, by: float) -> Box:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(one: Box, other: Box) -> float:
    return _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def _crosses(box: Box, begin: tuple[float, float], end: tuple[float, float]) -> bool:
    """Tell whether a line goes through a box (Liang and Barsky's clipping)."""
    first, last = 0.0, 1.0
    delta = end[0] - begin[0], end[1] - begin[1]
    for axis in (0, 1):
        low, high = box[axis] - begin[axis], box[axis + 2] - begin[axis]
        if abs(delta[axis]) < 1e-12:
            if low > 0 or high < 0:
                return False
            continue
        enter, leave = sorted((low / delta[axis], high / delta[axis]))
        first, last = max(first, enter), min(last, leave)
        if first > last:
            return False
    return True
