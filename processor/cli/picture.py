"""Clusters as a picture: an SVG of points by cluster, with their centres, axes and a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, floor, isfinite, log10, radians
from typing import Final

Point = tuple[float, float, int]
"""Latitude, longitude, cluster."""

COLOURS: Final = (
    "#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f",
    "#b6992d", "#b07aa1", "#d37295", "#9c755f", "#79706e",
)  # fmt: skip
_PLOT: Final = 640
_LEFT, _TOP, _BOTTOM, _RIGHT = 70, 40, 60, 190
_OUTLIERS: Final = 0.004


def colour(cluster: int) -> str:
    """The cluster's colour: ten that go together, then ones round the circle.

    >>> colour(0), colour(11)
    ('#4e79a7', '#a68533')
    """
    if 0 <= cluster < len(COLOURS):
        return COLOURS[cluster]
    red, green, blue = colorsys.hls_to_rgb(cluster * 0.6180339887 % 1, 0.425, 0.53)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def svg(
    points: Sequence[Point],
    centroids: Sequence[tuple[float, float]],
    sizes: Mapping[int, int],
    title: str,
) -> str:
    """The picture. ``sizes`` are the clusters' trips, for the legend.

    The outermost four in a thousand points on each side stay outside the frame: a few trips from
    far away would make a dot of the city.
    """
    frame = _frame(points, centroids)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _PLOT + _RIGHT} '
            f'{_TOP + frame.height + _BOTTOM:.0f}" font-family="sans-serif" font-size="12">'
        ),
        f"<title>{_escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16">{_escape(title)}</text>',
        *_axes(frame),
        *_points(frame, points),
        *_centroids(frame, centroids),
        *_legend(frame, centroids, sizes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The part of the world that is shown, and where it goes in the picture."""

    south: float
    north: float
    west: float
    east: float

    @property
    def height(self) -> float:
        """A degree of longitude is shorter than one of latitude, except at the equator."""
        narrow = cos(radians((self.south + self.north) / 2))
        wanted = _PLOT * (self.north - self.south) / ((self.east - self.west) * max(narrow, 0.05))
        return min(max(wanted, 240), 960)

    def x(self, lon: float) -> float:
        return _LEFT + (lon - self.west) / (self.east - self.west) * _PLOT

    def y(self, lat: float) -> float:
        return _TOP + (self.north - lat) / (self.north - self.south) * self.height

    def shows(self, lat: float, lon: float) -> bool:
        return self.south <= lat <= self.north and self.west <= lon <= self.east


def _frame(points: Sequence[Point], centroids: Sequence[tuple[float, float]]) -> _Frame:
    shown = [(lat, lon) for lat, lon, _ in points if isfinite(lat) and isfinite(lon)]
    shown = shown or list(centroids) or [(0.0, 0.0)]
    south, north = _middle(sorted(lat for lat, _ in shown))
    west, east = _middle(sorted(lon for _, lon in shown))
    return _Frame(south, north, west, east)


def _middle(ordered: Sequence[float]) -> tuple[float, float]:
    """From the first to the last but for the outliers, and a little more on both sides."""
    cut = floor(len(ordered) * _OUTLIERS)
    low, high = ordered[cut], ordered[-1 - cut]
    margin = (high - low) * 0.05 or 0.01
    return low - margin, high + margin


def _axes(frame: _Frame) -> list[str]:
    right, bottom = _LEFT + _PLOT, _TOP + frame.height
    parts = ['<g fill="#444" stroke="none">']
    for lon in _ticks(frame.west, frame.east):
        x = frame.x(lon)
        parts += [
            f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#e5e5e5"/>',
            f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{lon:g}</text>',
        ]
    for lat in _ticks(frame.south, frame.north):
        y = frame.y(lat)
        parts += [
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#e5e5e5"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{lat:g}</text>',
        ]
    middle = _TOP + frame.height / 2
    return [
        *parts,
        (
            f'<text x="{_LEFT + _PLOT / 2}" y="{bottom + 42:.1f}" text-anchor="middle">'
            "longitude (degrees)</text>"
        ),
        (
            f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle">'
            "latitude (degrees)</text>"
        ),
        "</g>",
        (
            f'<rect x="{_LEFT}" y="{_TOP}" width="{_PLOT}" height="{frame.height:.1f}" fill="none" '
            'stroke="#888"/>'
        ),
    ]


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two."""
    rough = (high - low) / 5
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough)
    first = floor(low / step) + 1
    return [round(n * step, 9) for n in range(first, floor(high / step) + 1)]


def _points(frame: _Frame, points: Sequence[Point]) -> list[str]:
    """A path of dots for each cluster: a line of no length with round ends is a dot."""
    dots: dict[int, list[str]] = {}
    for lat, lon, cluster in points:
        if frame.shows(lat, lon):
            dots.setdefault(cluster, []).append(f"M{frame.x(lon):.1f} {frame.y(lat):.1f}h0")
    return [
        f'<path class="cluster-{cluster}" d="{"".join(paths)}" stroke="{colour(cluster)}" '
        'stroke-width="2.6" stroke-linecap="round" stroke-opacity="0.65" fill="none"/>'
        for cluster, paths in sorted(dots.items())
    ]


def _centroids(frame: _Frame, centroids: Sequence[tuple[float, float]]) -> list[str]:
    parts = []
    for cluster, (lat, lon) in enumerate(centroids):
        if frame.shows(lat, lon):
            x, y = frame.x(lon), frame.y(lat)
            parts += [
                (
                    f'<circle class="centroid" cx="{x:.1f}" cy="{y:.1f}" r="8" '
                    f'fill="{colour(cluster)}" stroke="#000" stroke-width="1.5"/>'
                ),
                (
                    f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle" font-size="10" '
                    f'fill="#fff">{cluster}</text>'
                ),
            ]
    return parts


def _legend(
    frame: _Frame, centroids: Sequence[tuple[float, float]], sizes: Mapping[int, int]
) -> list[str]:
    x = _LEFT + _PLOT + 20
    rows_max = max(1, floor((frame.height - 20) / 18))
    parts = [f'<text x="{x}" y="{_TOP + 10}" font-weight="bold">cluster: trips</text>']
    for row, (cluster, (lat, lon)) in enumerate(list(enumerate(centroids))[:rows_max]):
        y = _TOP + 30 + row * 18
        outside = "" if frame.shows(lat, lon) else " (outside)"
        parts += [
            f'<circle cx="{x + 5}" cy="{y - 4}" r="5" fill="{colour(cluster)}"/>',
            f'<text x="{x + 16}" y="{y}">{cluster}: {sizes.get(cluster, 0):,}{outside}</text>',
        ]
    return parts


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
