"""Scatter plots as geometry for inline SVG: accuracy against size and against latency, with the Pareto front.

Drawn by hand rather than with a plotting library because the page must carry everything inline: plotly's bundle alone
is 4.8 MB, these figures are a few kilobytes, print well, and follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from litemill.report.wording import count, estimate, latency, number, significant, steps
from litemill.select import pareto_front
from litemill.select.results import Results, VariantResult

WIDTH, HEIGHT = 620, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 16, 46
LABEL_HEIGHT, LETTER = 13.0, 6.3
LOG_FROM = 8.0
"""Spread of the values from which an axis is logarithmic."""


@dataclass(frozen=True)
class Cost:
    """What accuracy is drawn against: the figure's words, the value by recipe, and the budget's limit."""

    title: str
    axis: str
    values: dict[str, float]
    limit: float | None = None


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels, with the ticks that are drawn."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Pixel of a value."""
        low, high, here = (math.log(item) if self.log else item for item in (self.low, self.high, value))
        return round(self.start + (here - low) / (high - low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and text of each tick."""
        values = _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high)
        step = values[1] - values[0] if len(values) > 1 and not self.log else 0
        return [(self.at(value), _tick_text(value, step)) for value in values]


@dataclass(frozen=True)
class Point:
    """One variant in a figure. `low` and `high` are the pixels of the interval of its accuracy."""

    recipe: str
    verdict: str
    x: float
    y: float
    low: float | None
    high: float | None
    front: bool
    winner: bool
    message: list[str]
    label: tuple[float, float, str] | None = None
    leader: bool = False


@dataclass(frozen=True)
class Figure:
    """What the template draws."""

    title: str
    x_label: str
    y_label: str
    x: Axis
    y: Axis
    points: list[Point]
    front: str
    x_limit: float | None = None
    y_limit: float | None = None
    size: tuple[int, int] = field(default=(WIDTH, HEIGHT))
    frame: tuple[int, int, int, int] = field(default=(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM))


def figures(results: Results) -> list[Figure]:
    """Accuracy against size, and against what each target makes of it where there are at least two to compare.

    Args:
        results: What the run found.
    """
    usable = [variant for variant in results.variants if variant.accuracy is not None]
    costs = [cost for target in targets(results) for cost in _costs_on(results, usable, target) if len(cost.values) > 1]
    return [_scatter(results, usable, cost) for cost in (*_sizes(results, usable), *costs)]


def _sizes(results: Results, usable: Sequence[VariantResult]) -> Iterator[Cost]:
    if usable:
        sizes = {variant.recipe: float(variant.size_bytes) for variant in usable}
        yield Cost("size", "size of the .tflite (bytes)", sizes, results.budget.max_size_bytes)
    if any(len(variant.steps) > 1 for variant in usable):  # what pruning and clustering gain shows here
        zipped = {variant.recipe: float(variant.gzip_bytes) for variant in usable}
        yield Cost("gzip size", "size of the gzipped .tflite (bytes)", zipped)


def _costs_on(results: Results, usable: Sequence[VariantResult], target: str) -> Iterator[Cost]:
    """Latency on a target, and the bytes it stores where they are not those of the file."""
    found = {
        variant.recipe: (variant, variant.measurements[target])
        for variant in usable
        if target in variant.measurements and variant.measurements[target].status == "ok"
    }
    kinds = ", ".join(sorted({item.kind for _, item in found.values()}))
    times = {recipe: item.latency_ms["p50"] for recipe, (_, item) in found.items() if "p50" in item.latency_ms}
    limit = results.budget.max_latency_ms.get(target)
    yield Cost(f"latency on {target}", f"p50 latency on {target} (ms, {kinds})", times, limit)
    stored = {recipe: float(item.realised_bytes) for recipe, (_, item) in found.items() if item.realised_bytes}
    if any(stored[recipe] != found[recipe][0].size_bytes for recipe in stored):
        yield Cost(f"size on {target}", f"bytes that {target} stores ({kinds})", stored)


def targets(results: Results) -> list[str]:
    """Names of all targets, in the order they are met."""
    return list(dict.fromkeys(target for variant in results.variants for target in variant.measurements))


def _scatter(results: Results, variants: Sequence[VariantResult], against: Cost) -> Figure:
    cost, x_limit = against.values, against.limit
    shown = [variant for variant in variants if variant.recipe in cost]
    metric = next((variant.metric for variant in shown if variant.metric), "accuracy")
    sign = 1 if results.higher_is_better else -1
    limit = results.budget.max_accuracy_drop
    y_limit = None if limit is None or results.baseline is None else results.baseline - sign * limit
    spans = {variant.recipe: _span(variant, results.baseline, sign) for variant in shown}
    heights = [value for variant in shown for value in (variant.accuracy, *(spans[variant.recipe] or ()))]
    x = _axis([cost[variant.recipe] for variant in shown], LEFT, WIDTH - RIGHT, include=x_limit, positive=True)
    y = _axis([value for value in heights if value is not None], HEIGHT - BOTTOM, TOP, include=y_limit)
    kept = pareto_front([(cost[variant.recipe], -sign * (variant.accuracy or 0.0)) for variant in shown])
    points = [
        _point(results, variant, x.at(cost[variant.recipe]), y, spans[variant.recipe], on_front)
        for variant, on_front in zip(shown, kept, strict=True)
    ]
    return Figure(
        title=f"{metric} against {against.title}",
        x_label=against.axis,
        y_label=metric,
        x=x,
        y=y,
        points=_labelled(points),
        front=_staircase([point for point in points if point.front]),
        x_limit=x.at(x_limit) if x_limit is not None and x.low <= x_limit <= x.high else None,
        y_limit=y.at(y_limit) if y_limit is not None and y.low <= y_limit <= y.high else None,
    )


def _span(variant: VariantResult, baseline: float | None, sign: int) -> tuple[float, float] | None:
    """The interval of a variant's metric, given the baseline's value: that of the paired drop, turned."""
    if baseline is None or variant.accuracy is None or variant.accuracy_drop is None:
        return None
    ends = [baseline - sign * bound for bound in variant.accuracy_drop.ci]
    return min(ends), max(ends)


def _point(
    results: Results, variant: VariantResult, x: float, y: Axis, span: tuple[float, float] | None, front: bool
) -> Point:
    message = [
        steps(variant),
        f"{variant.metric} {number(variant.accuracy)}, drop {estimate(variant.accuracy_drop)}",
        f"{count(variant.size_bytes)} bytes, {count(variant.gzip_bytes)} gzip",
        *(f"{target}: {latency(found)}" for target, found in variant.measurements.items()),
        f"{variant.verdict}: {variant.reason}" if variant.reason else variant.verdict,
    ]
    return Point(
        recipe=variant.recipe,
        verdict=variant.verdict,
        x=x,
        y=y.at(variant.accuracy or 0.0),
        low=y.at(span[0]) if span else None,
        high=y.at(span[1]) if span else None,
        front=front,
        winner=variant.recipe == results.winner,
        message=message,
    )


def _axis(
    values: list[float], start: float, end: float, *, include: float | None = None, positive: bool = False
) -> Axis:
    """An axis that holds all values; a limit is drawn into it unless it is so far off that the points would crowd."""
    low, high = min(values), max(values)
    log = positive and low > 0 and high / low > LOG_FROM
    if include is not None and (not log or include > 0):
        spread = (high - low) or abs(high) or 1.0
        if low - 2 * spread <= include <= high + 2 * spread:
            low, high = min(low, include), max(high, include)
    if log:
        return Axis(low / 1.3, high * 1.3, start, end, log=True)
    margin = 0.08 * ((high - low) or abs(high) * 0.1 or 1.0)
    return Axis(max(0.0, low - margin) if positive else low - margin, high + margin, start, end)


def _ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round values (1, 2, 5 times a power of ten) between two bounds."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        value for power in powers for value in (10.0**power, 2 * 10.0**power, 5 * 10.0**power) if low <= value <= high
    ]


def _tick_text(value: float, step: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if step:
        return number(value, max(0, -math.floor(math.log10(step) + 1e-9)))
    return significant(value, 1)


def _staircase(front: Sequence[Point]) -> str:
    """The front as an SVG path: everything below and to the right of it is beaten by a point on it."""
    ordered = sorted(front, key=lambda point: (point.x, -point.y))
    if not ordered:
        return ""
    path = f"M{ordered[0].x} {HEIGHT - BOTTOM}V{ordered[0].y}"
    return path + "".join(f"H{point.x}V{point.y}" for point in ordered[1:]) + f"H{WIDTH - RIGHT}"


def _labelled(points: Sequence[Point]) -> list[Point]:
    """Write a name at each point where there is room for it; the winner and the front come first."""
    taken = [(point.x - 6, point.y - 6, point.x + 6, point.y + 6) for point in points]
    front = sorted((point for point in points if point.front), key=lambda point: point.x)
    ends = [*(point.x for point in front[1:]), WIDTH - RIGHT]
    taken += [(point.x, point.y - 1, end, point.y + 1) for point, end in zip(front, ends, strict=False)]
    labels: dict[str, tuple[float, float, str, bool]] = {}
    for point in sorted(points, key=lambda item: (not item.winner, not item.front)):
        for x, y, anchor, leader in _places(point):
            width = len(point.recipe) * LETTER
            left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
            box = (left - 1, y - LABEL_HEIGHT + 3, left + width + 1, y + 3)
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                labels[point.recipe] = (round(x, 1), round(y, 1), anchor, leader)
                break
    return [
        replace(point, label=found[:3], leader=found[3]) if (found := labels.get(point.recipe)) else point
        for point in points
    ]


def _places(point: Point) -> list[tuple[float, float, str, bool]]:
    """Where a name may stand, best first: beside its point, else further off with a line that leads to it."""
    near = [(12, 4, "start"), (-12, 4, "end"), (0, -13, "middle"), (0, 22, "middle")]
    far = [
        (26, -18, "start"),
        (26, 26, "start"),
        (-26, -18, "end"),
        (-26, 26, "end"),
        (40, -34, "start"),
        (40, 42, "start"),
    ]
    far += [(-40, -34, "end"), (-40, 42, "end"), (56, -50, "start"), (56, 58, "start")]
    return [
        (point.x + x, point.y + y, anchor, leader)
        for places, leader in ((near, False), (far, True))
        for x, y, anchor in places
    ]


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
