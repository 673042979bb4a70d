"""The model card of a release, in Markdown, written from its evidence. What it is for is the user's own text."""

from __future__ import annotations

from collections.abc import Sequence

from litemill.artifacts.layout import TFLITE, TFLM_TFLITE
from litemill.report.wording import code, count, estimate, markdown, number, significant
from litemill.shipping.manifest import CARD, SUMS, Release
from litemill.slim.lut_plan import DECODE

NOT_SAID = "Not stated: give `release.intended_use` in the run config."


def model_card(release: Release) -> str:
    """The card.

    Args:
        release: The whole of it, but for the digests of its files.
    """
    found = release.evidence
    parts = [
        f"# {markdown(release.name)}: {markdown(release.recipe)}",
        f"A TensorFlow Lite model of {count(release.size_bytes)} bytes, sha256 `{release.sha256}`.",
        *_tables(release),
        "## Intended use",
        release.intended_use.strip() or NOT_SAID,
        "## How it was made",
        _table(
            ("what", "how"),
            [
                ("steps", markdown(" → ".join(release.steps))),
                *((f"options of {markdown(one.step)}", _options(one.options)) for one in release.train_steps),
                ("options of the conversion", _options(release.options)),
                ("seed", str(release.seed)),
                ("source model (sha256)", code(release.data.model or "not known")),
                ("calibration samples (sha256)", code(release.data.calibration or "none were needed")),
            ],
        ),
        "## How good it is",
        f"{markdown(found.metric)} {number(found.value)} on {count(found.samples)} test samples (sha256 "
        f"`{release.data.test}`), a drop of {estimate(found.drop)} against the float model (95 % interval).",
        *_by_class(release),
        *_latencies(release),
        f"The gate: {markdown(found.verdict)}. {markdown(found.reason)}.",
        "## What an app must do",
        *_interface(release),
        *_sources(release),
        "## Limits",
        "The figures hold for samples like those of the test split and for the targets named. What was not measured is "
        "not known: other populations, other devices, inputs that were made to deceive.",
        "## Check it",
        f"`litemill verify` on this folder, or `sha256sum --check {SUMS}`. All evidence is beside this file ({CARD}).",
    ]
    return "\n\n".join(parts) + "\n"


def _tables(release: Release) -> list[str]:
    found = release.tables
    if found is None:
        return []
    text = (
        f"For TensorFlow Lite for Microcontrollers there is `{TFLM_TFLITE}` beside it, the same model of "
        f"{count(found.size_bytes)} bytes, sha256 `{found.sha256}`: {found.weights} of its weights are look-up tables "
        f"that the op {DECODE} writes out, and its outputs are equal bit for bit. No other runtime takes it."
    )
    if found.arena_bytes and found.plain_arena_bytes:
        text += (
            f" Its arena is {count(found.arena_bytes)} bytes, that of `{TFLITE}` {count(found.plain_arena_bytes)} "
            "(with pointers of 64 bits)."
        )
    return [text]


def _by_class(release: Release) -> list[str]:
    values = release.evidence.per_class
    if not values:
        return []
    labels = release.interface.labels if release.interface else []
    rows = [
        (markdown(labels[at] if at < len(labels) else str(at)), number(value)) for at, value in enumerate(values[:100])
    ]
    rest = f" The first 100 of {len(values)}." if len(values) > 100 else ""
    return [f"By class:{rest}", _table(("class", markdown(release.evidence.per_class_metric)), rows)]


def _latencies(release: Release) -> list[str]:
    rows = [(markdown(target), f"{significant(value)} ms") for target, value in release.evidence.latency_ms.items()]
    return [_table(("target", "median latency"), rows)] if rows else []


def _interface(release: Release) -> list[str]:
    known = release.interface
    if known is None:
        return ["Not recorded by the version of Litemill that evaluated it."]
    shapes = known.inputs or {"input": known.input_shape}
    rows = [(f"shape of {markdown(name)}", markdown(str(shape))) for name, shape in shapes.items()]
    rows += [("preprocessing", _options(known.preprocessing)), ("task", markdown(known.task))]
    rows += [("outputs are", markdown(known.output_is or "not said"))]
    rows += [("labels", markdown(", ".join(known.labels)))] if known.labels else []
    return [_table(("what", "value"), rows)]


def _sources(release: Release) -> list[str]:
    if not release.pack:
        return []
    return [f"Sources that do all this, written from the evidence: {', '.join(map(code, release.pack))}."]


def _options(options: object) -> str:
    if not isinstance(options, dict):
        return code(options)
    told = {name: value for name, value in options.items() if value not in ("", [], None, {})}
    return ", ".join(f"{markdown(name)} {code(value)}" for name, value in told.items()) or "none"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
