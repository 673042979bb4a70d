"""What the command line shows: the plan as a tree, the tasks as they run, the variants as a ranked table."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table
from rich.tree import Tree

from litemill.results import Results
from litemill.spec import RunSpec
from pipelines.observe import TaskEvent
from pipelines.plan import PlannedModel, plan, written
from pipelines.tasks import slug

MARKS = {"done": "[green]✓[/]", "cached": "[blue]=[/]", "failed": "[red]✗[/]"}
VERDICTS = {"pass": "[green]pass[/]", "fail": "[red]fail[/]", "inconclusive": "[yellow]inconclusive[/]"}


def plan_tree(spec: RunSpec) -> Tree:
    """The tasks of a run and the recipes they serve."""
    tree = Tree(f"[bold]{spec.name}[/]: {len(spec.recipes)} recipes on {', '.join(spec.targets)}")
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
        steps += ["evaluate", *(f"benchmark-{slug(target)}" for target in spec.targets), "log-variants"]
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
    table = Table(title=f"{results.name}: variants ranked by {results.objective}", title_justify="left")
    table.add_column("recipe")
    for heading in ("accuracy", "drop [95 % CI]", "size", "gzip", *(f"{target} ms (× float32)" for target in targets)):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for variant in results.variants:
        name = f"[bold green]★ {variant.recipe}[/]" if variant.recipe == results.winner else variant.recipe
        if variant.status != "ok":
            table.add_row(name, *[""] * (4 + len(targets)), f"[red]failed[/]: {escape(variant.reason)}")
            continue
        drop = variant.accuracy_drop
        cells = [
            "" if variant.accuracy is None else f"{variant.accuracy:.4f}",
            f"{drop.value:+.4f} [{drop.ci[0]:+.4f}, {drop.ci[1]:+.4f}]" if drop else "",
            f"{variant.size_bytes:,}",
            f"{variant.gzip_bytes:,}",
        ]
        cells += [_measured(variant.measurements.get(target)) for target in targets]
        table.add_row(name, *(escape(cell) for cell in cells), VERDICTS.get(variant.verdict, variant.verdict))
    return table


def _measured(measurement: object) -> str:
    latency = getattr(measurement, "latency_ms", None) or {}
    ratio = getattr(measurement, "ratio_to_float32", None)
    if "p50" not in latency:
        return ""
    told = f"{latency['p50']:.3f}"
    return f"{told} ({ratio.value:.2f} [{ratio.ci[0]:.2f}, {ratio.ci[1]:.2f}])" if ratio else told
