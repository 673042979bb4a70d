"""How figures are written in reports: one way for each quantity, the same in HTML and in Markdown."""

from __future__ import annotations

import re

from litemill.config.budget import Budget
from litemill.config.objective import Objective
from litemill.evidence.base import Estimate
from litemill.select.results import TargetResult, VariantResult

NOTHING = "–"
MINUS = "\N{MINUS SIGN}"
MEANT = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
"""Characters that Markdown would act upon; an `_` inside a word is one."""


def markdown(text: object) -> str:
    """Text as Markdown shows it as it is: no HTML, no link, no cell of a table, on one line."""
    escaped = MEANT.sub(lambda found: f"\\{found[0]}", str(text))
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").split())


def code(text: object) -> str:
    """Text between backticks, which ends at no backtick of its own."""
    return f"`{' '.join(str(text).replace('`', chr(39)).split())}`"


def number(value: float | None, decimals: int = 4) -> str:
    """A number with a fixed number of decimals and a typographic minus; a dash for what is not known."""
    return NOTHING if value is None else f"{value:.{decimals}f}".replace("-", MINUS)


def significant(value: float | None, digits: int = 3) -> str:
    """A number with a fixed number of significant digits, never in exponent form where it can be read without."""
    if value is None:
        return NOTHING
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        text = f"{value:#.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:,.0f}"
        return text.rstrip(".").replace("-", MINUS)
    return f"{value:.{digits - 1}e}".replace("-", MINUS)


def estimate(value: Estimate | None, decimals: int = 4) -> str:
    """`0.0040 [0.0010, 0.0070]`."""
    if value is None:
        return NOTHING
    return f"{number(value.value, decimals)} {interval(value, decimals)}"


def interval(value: Estimate, decimals: int = 4) -> str:
    """`[0.0010, 0.0070]`."""
    return f"[{number(value.ci[0], decimals)}, {number(value.ci[1], decimals)}]"


def count(value: int | None) -> str:
    """`95,576`; a dash for what is not known (no file has 0 bytes)."""
    return f"{value:,}" if value else NOTHING


def kib(value: int | None) -> str:
    """`93.3 KiB`, or MiB from one up."""
    if not value:
        return NOTHING
    return f"{value / 1024:.1f} KiB" if value < 1 << 20 else f"{value / (1 << 20):.2f} MiB"


def percent(fraction: float | None) -> str:
    """`50 %`, with a decimal below 10 %."""
    if fraction is None:
        return NOTHING
    return f"{100 * fraction:.0f} %" if fraction == 0 or fraction >= 0.0995 else f"{100 * fraction:.1f} %"


def steps(variant: VariantResult) -> str:
    """`prune → qat → int8`."""
    return " → ".join(variant.steps)


def latency(found: TargetResult | None) -> str:
    """The median with its kind, or why there is none: `0.370 ms`, `0.372 ms (estimated)`, `failed`."""
    if found is None:
        return NOTHING
    if found.status == "failed":
        return "failed"
    if "p50" not in found.latency_ms:
        return NOTHING
    kind = "" if found.kind == "measured" else f" ({found.kind})"
    return f"{significant(found.latency_ms['p50'])} ms{kind}"


def on_target(found: TargetResult | None, kind: str) -> str:
    """One figure of a variant on a target: `p50`, `ratio` to float32, bytes `stored`, `arena`, share of ops `taken`."""
    if found is None or kind == "p50":
        return latency(found)
    if found.status == "failed":
        return NOTHING
    if kind == "ratio":
        return estimate(found.ratio_to_float32, 2)
    if kind == "taken":
        return percent(found.delegated_fraction)
    return count(found.realised_bytes if kind == "stored" else found.arena_bytes)


def plainly(found: TargetResult) -> str:
    """What the plain file takes of a target that stores the one with look-up tables."""
    arena = f", {count(found.plain_arena_bytes)} arena" if found.plain_arena_bytes else ""
    return f"{count(found.plain_bytes)} stored{arena}"


def sort_value(found: TargetResult, kind: str) -> float | str:
    """What a column is sorted by; empty where it is not known."""
    known = {
        "p50": found.latency_ms.get("p50"),
        "ratio": found.ratio_to_float32.value if found.ratio_to_float32 else None,
        "stored": found.realised_bytes,
        "arena": found.arena_bytes,
        "taken": found.delegated_fraction,
    }[kind]
    return "" if known is None else known


def budget(limits: Budget) -> list[str]:
    """The limits, one phrase each; empty when nothing is limited (`Budget.phrases`)."""
    return limits.phrases()


def objective(name: str) -> str:
    """What an objective asks for, in words (`Objective.words`)."""
    return Objective.parse(name).words


def objective_axis(name: str) -> str:
    """What an objective adds to the axes of the Pareto front (`Objective.axis`)."""
    return Objective.parse(name).axis
