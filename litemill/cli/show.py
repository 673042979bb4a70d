"""What the command line shows: the plan as a tree, the tasks as they run, the variants as a ranked table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from litemill.cli.console import styled
from litemill.config.objective import Objective
from litemill.pipelines.plan import PlannedModel, plan, written
from litemill.pipelines.preview import delivery_tasks, judging_tasks

if TYPE_CHECKING:
    from rich.status import Status

    from litemill.config.run import RunSpec
    from litemill.evidence.base import Estimate
    from litemill.pipelines.observe import TaskEvent
    from litemill.select.results import Results, TargetResult, VariantResult

MARKS = {"done": ("✓", "green"), "cached": ("=", "blue"), "failed": ("✗", "red")}
VERDICTS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
"""Colours of the gate's verdicts."""


def plan_tree(spec: RunSpec) -> Tree:
    """The tasks of a run and the recipes they serve."""
    targets = ", ".join(target.name for target in spec.targets)
    tree = Tree(styled((spec.name, "bold"), f": {len(spec.recipes)} recipes on {targets}"))
    for task in ("start-run", "doctor", "prepare-data"):
        tree.add(task)
    _add_model(tree, spec, plan(spec), "import-model → evaluate-baseline")
    if spec.tracking.registered_model:
        tasks = " → ".join(("champion", *judging_tasks(spec)))
        tree.add(styled(("champion", "bold"), f" of {spec.tracking.registered_model}, if there is one: {tasks}"))
    tree.add(f"compare: {Objective.parse(spec.objective).words}; budget: {'; '.join(spec.budget.phrases()) or 'none'}")
    if spec.release:
        tree.add(f"release to {spec.release.uri}, if the gate passes")
    tree.add("finish-run")
    return tree


def _add_model(tree: Tree, spec: RunSpec, model: PlannedModel, task: str) -> None:
    branch = tree.add(styled((task, "bold")))
    if model.recipes:
        delivery = branch.add(f"deliver-{model.name}: {' → '.join(delivery_tasks(spec, model))}")
        for name, recipe in model.recipes.items():
            delivery.add(styled((name, "cyan"), "  ", written(recipe)))
    for child in model.children:
        _add_model(branch, spec, child, child.name)


class Progress:
    """Live progress: a line for each task that ended, a spinner that names those that run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.spinner: Status | None = None
        self.running: list[str] = []
        self.ran = self.cached = 0

    def __call__(self, event: TaskEvent) -> None:
        """Show an event."""
        if event.state == "started":
            self.running.append(event.name)
        elif event.name in self.running:
            self.running.remove(event.name)
        if event.state == "note":
            self.console.print(styled(("note:", "yellow"), " ", event.text), highlight=False, soft_wrap=True)
        elif event.state != "started":
            self.cached += event.state == "cached"
            self.ran += event.state == "done"
            took = "from cache" if event.state == "cached" else f"{event.seconds:.1f} s"
            self.console.print(styled(MARKS[event.state], f" {event.name:<34} {took:>10}"), highlight=False)
        self._spin()

    def _spin(self) -> None:
        """Show what runs now, and nothing where nothing does."""
        if not self.running:
            self.close()
        elif self.spinner:
            self.spinner.update(styled(", ".join(self.running)))
        else:
            self.spinner = self.console.status(styled(", ".join(self.running)), refresh_per_second=4)
            self.spinner.start()

    def close(self) -> None:
        """Show nothing any more."""
        if self.spinner:
            self.spinner.stop()
            self.spinner = None


def results_tables(results: Results) -> list[Table]:
    """The variants, ranked as `compare` ordered them; then what each is on the targets with no ratio to float32."""
    champion = results.champion
    rows = [*([champion] if champion and champion.version.there else []), *results.variants]
    targets = list(dict.fromkeys(target for variant in results.variants for target in variant.measurements))
    timed = [name for name in targets if any(_ratio(variant, name) for variant in results.variants)]
    other = [name for name in targets if name not in timed]
    title = f"{results.name}: variants ranked by {results.objective}"
    table = _table(title, "accuracy", "drop", "95 % CI", "size", "gzip")
    for target in timed:
        table.add_column(f"{target} ms", justify="right", no_wrap=True)
        table.add_column("× float32", justify="right", no_wrap=True)
    table.add_column("verdict")
    for variant in rows:
        if variant.status != "ok":
            cells = [""] * (5 + 2 * len(timed))
            table.add_row(_name(variant, results), *cells, styled(("failed", "red"), f": {variant.reason}"))
            continue
        cells = [
            "" if variant.accuracy is None else f"{variant.accuracy:.4f}",
            *_interval(variant.accuracy_drop, ".4f"),
            f"{variant.size_bytes:,}",
            f"{variant.gzip_bytes:,}",
            *(cell for target in timed for cell in _latency(variant, target)),
        ]
        table.add_row(_name(variant, results), *cells, _verdict(variant, results))
    if not other:
        return [table]
    beside = _table("what the targets make of them", *other)
    for variant in rows:
        if variant.status == "ok":
            cells = [describe(variant.measurements.get(target)) for target in other]
            beside.add_row(_name(variant, results), *cells)
    return [table, beside]


def _verdict(variant: VariantResult, results: Results) -> Text:
    if variant is results.champion:
        return styled(("champion", "cyan"))
    return styled((variant.verdict, VERDICTS[variant.verdict]))


def _table(title: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("recipe", no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _name(variant: VariantResult, results: Results) -> Text:
    if results.champion and variant is results.champion:
        return styled((f"  {results.champion.version}", "cyan"))
    won = variant.recipe == results.winner
    return styled((f"★ {variant.recipe}", "bold green")) if won else styled(f"  {variant.recipe}")


def _ratio(variant: VariantResult, target: str) -> Estimate | None:
    found = variant.measurements.get(target)
    return found.ratio_to_float32 if found else None


def _latency(variant: VariantResult, target: str) -> tuple[str, str]:
    """Median latency and its ratio to float32 with the interval."""
    found = variant.measurements.get(target)
    if found is None or found.status != "ok":
        return ("failed" if found else "", "")
    median = f"{found.latency_ms['p50']:.3f}" if "p50" in found.latency_ms else ""
    return median, " ".join(_interval(found.ratio_to_float32, ".2f"))


def describe(found: TargetResult | None) -> str:
    """What a target without a clock of its own says: estimated latency, ops left to the CPU, bytes it stores, arena."""
    if found is None:
        return ""
    if found.status != "ok":
        return "runs, wrong outputs" if found.answers is False else "does not run"
    message = []
    if "p50" in found.latency_ms:
        message.append(f"{found.latency_ms['p50']:.3f} ms {found.kind}")
    if found.delegated_fraction is not None and found.accelerator != "cpu" and "p50" not in found.latency_ms:
        message.append(f"{found.delegated_fraction:.0%} of ops {found.kind}")
    if found.realised_bytes is not None:
        plain = f" (of {found.plain_bytes:,})" if found.plain_bytes else ""
        message.append(f"{found.realised_bytes:,} stored{plain}")
    if found.arena_bytes is not None and "p50" not in found.latency_ms:  # the report tells the others
        plain = f" (for {found.plain_arena_bytes:,})" if found.plain_arena_bytes else ""
        message.append(f"{found.arena_bytes:,} arena{plain}")
    if found.output_steps:
        message.insert(0, f"runs, differs by {found.output_steps} step{'s' * (found.output_steps > 1)}")
    return ", ".join(message) or "runs"


def _interval(estimate: Estimate | None, digits: str) -> tuple[str, str]:
    if estimate is None:
        return "", ""
    low, high = estimate.ci
    return f"{estimate.value:{digits}}", f"[{low:{digits}}, {high:{digits}}]"
