"""What the command line shows: the plan as a tree, the tasks as they run, the variants as a ranked table."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table
from rich.tree import Tree

from litemill.evidence import Estimate
from litemill.results import Results, TargetResult
from litemill.spec import RunSpec
from pipelines.observe import TaskEvent
from pipelines.plan import PlannedModel, plan, written
from pipelines.tasks import slug

MARKS = {"done": "[green]✓[/]", "cached": "[blue]=[/]", "failed": "[red]✗[/]"}
VERDICTS = {"pass": "[green]pass[/]", "fail": "[red]fail[/]", "inconclusive": "[yellow]inconclusive[/]"}


def plan_tree(spec: RunSpec) -> Tree:
    """The tasks of a run and the recipes they serve."""
    tree = Tree(
        f"[bold]{spec.name}[/]: {len(spec.recipes)} recipes on {', '.join(target.name for target in spec.targets)}"
    )
    for task in ("start-run", "prepare-data"):
        tree.add(task)
    _add_model(tree, spec, plan(spec), "import-model → evaluate-baseline")
    tree.add("compare")
    if spec.release:
        tree.add(f"release to {spec.release.uri}, if the gate passes")
    tree.add("finish-run")
    return tree


def _add_model(tree: Tree, spec: RunSpec, model: PlannedModel, task: str) -> None:
    branch = tree.add(f"[bold]{task}[/]")
    if model.recipes:
        steps = ["ptq"] * bool(model.uncalibrated) + ["int8-convert"] * bool(model.calibrated)
        steps += ["evaluate", *(f"benchmark-{slug(target.name)}" for target in spec.targets), "log-variants"]
        delivery = branch.add(f"deliver-{model.name}: {' → '.join(steps)}")
        for name, recipe in model.recipes.items():
            delivery.add(f"[cyan]{escape(name)}[/]  {escape(written(recipe))}")
    for child in model.children:
        _add_model(branch, spec, child, child.name)


class Progress:
    """Live progress: a line for each task that ended, a spinner for the one that runs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.spinner: Status | None = None
        self.ran = self.cached = 0

    def __call__(self, event: TaskEvent) -> None:
        """Show an event."""
        if self.spinner:
            self.spinner.stop()
            self.spinner = None
        if event.state == "started":
            self.spinner = self.console.status(event.name, refresh_per_second=4)
            self.spinner.start()
            return
        self.cached += event.state == "cached"
        self.ran += event.state == "done"
        took = "from cache" if event.state == "cached" else f"{event.seconds:.1f} s"
        self.console.print(f"{MARKS[event.state]} {event.name:<34} {took:>10}", highlight=False)


def results_table(results: Results) -> Table:
    """The variants, ranked: the winner first, then by verdict and objective as `compare` ordered them."""
    targets = list(dict.fromkeys(target for variant in results.variants for target in variant.measurements))
    table = Table(title=f"{results.name}: variants ranked by {results.objective}", title_justify="left", box=SIMPLE)
    table.add_column("recipe", no_wrap=True)
    for heading in ("accuracy", "drop", "95 % CI", "size", "gzip"):
        table.add_column(heading, justify="right", no_wrap=True)
    for target in targets:
        table.add_column(f"{target} ms", justify="right", no_wrap=True)
        table.add_column("× float32", justify="right", no_wrap=True)
    table.add_column("verdict")
    for variant in results.variants:
        name = f"[bold green]★ {variant.recipe}[/]" if variant.recipe == results.winner else f"  {variant.recipe}"
        if variant.status != "ok":
            table.add_row(name, *[""] * (5 + 2 * len(targets)), f"[red]failed[/]: {escape(variant.reason)}")
            continue
        cells = [
            "" if variant.accuracy is None else f"{variant.accuracy:.4f}",
            *_interval(variant.accuracy_drop, ".4f"),
            f"{variant.size_bytes:,}",
            f"{variant.gzip_bytes:,}",
            *(cell for target in targets for cell in _measured(variant.measurements.get(target))),
        ]
        table.add_row(name, *(escape(cell) for cell in cells), VERDICTS[variant.verdict])
    return table


def _measured(found: TargetResult | None) -> tuple[str, str]:
    """Median latency, marked where it is not measured, and its ratio to float32 with the interval."""
    if found is None or found.status != "ok" or "p50" not in found.latency_ms:
        return ("failed" if found and found.status != "ok" else "", "")
    mark = "" if found.kind == "measured" else f" ({found.kind})"
    return f"{found.latency_ms['p50']:.3f}{mark}", " ".join(_interval(found.ratio_to_float32, ".2f"))


def _interval(estimate: Estimate | None, digits: str) -> tuple[str, str]:
    if estimate is None:
        return "", ""
    low, high = estimate.ci
    return f"{estimate.value:{digits}}", f"[{low:{digits}}, {high:{digits}}]"
