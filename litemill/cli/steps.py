"""The single steps: what the pipeline's tasks do, one at a time, under the names that they have in Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litemill.cli import console
from litemill.cli.console import Json
from litemill.errors import ConfigError

if TYPE_CHECKING:
    from rich.text import Text

PANEL = "Single steps"
Config = Annotated[Path, typer.Argument(help="Run config (YAML).", show_default=False)]
Dataset = Annotated[Path, typer.Argument(help="Folder that prepare-data wrote.", show_default=False)]
Model = Annotated[Path, typer.Argument(help="Folder that import-model or train wrote.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; it must not exist yet.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("prepare-data", prepare_data),
        ("import-model", import_model),
        ("train", train),
        ("convert", convert),
        ("evaluate", evaluate),
    ):
        app.command(name, rich_help_panel=PANEL)(command)


def prepare_data(config: Config, out: Out, as_json: Json = False) -> None:
    """Read the config's data and write its train, calibration and test splits."""
    from litemill.config.load import load_config
    from litemill.stages.prepare import prepare_data

    spec = load_config(config)
    manifest = prepare_data(spec.data, out=out, model=spec.model, seed=spec.training.seed)
    if as_json:
        console.print_json(manifest)
        return
    counts = ", ".join(f"{info.samples} {split}" for split, info in manifest.splits.items())
    console.out.print(f"{out}: {manifest.inputs or manifest.input_shape} {manifest.dtype}, {counts}", highlight=False)


def import_model(
    config: Config,
    dataset: Dataset,
    out: Out,
    baseline: Annotated[
        Path, typer.Option(help="Folder to write the float32 baseline to; it must not exist yet.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Bring the config's model in, and convert the float32 baseline that every variant is compared with."""
    from litemill.config.load import load_config
    from litemill.stages.import_model import import_model

    manifest = import_model(load_config(config).model, dataset, out=out, baseline=baseline)
    if as_json:
        console.print_json(manifest)
        return
    console.out.print(f"{out}: {manifest.parameters:,} parameters; baseline in {baseline}", highlight=False)


def train(
    model: Model,
    dataset: Dataset,
    step: Annotated[str, typer.Argument(help="prune, cluster, qat or finetune.", show_default=False)],
    out: Out,
    config: Annotated[
        Path | None, typer.Option(help="Run config (YAML) whose training section to use.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the step, such as sparsity=0.5; repeatable."),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="The source model: the teacher of a distillation.")] = None,
    as_json: Json = False,
) -> None:
    """Take one train-aware step. Exit code 1: it could not work, or did not do what it was asked."""
    from litemill.config.load import load_config
    from litemill.config.written import step_of

    asked = step_of({step: _options(option or [])}, "--set" if option else "STEP")
    training = load_config(config).training if config else None
    from litemill.stages.train import train

    manifest = train(model, dataset, asked, out=out, training=training, source=source)
    if as_json:
        console.print_json(manifest)
    elif manifest.status == "ok":
        console.out.print(f"{out}: {manifest.steps[-1].measured}", highlight=False)
    else:
        console.out.print(console.styled(("failed", "red"), ": ", manifest.reason))
    if manifest.status != "ok":
        raise typer.Exit(1)


def convert(
    model: Model,
    out: Out,
    recipe: Annotated[
        list[str],
        typer.Option("--recipe", metavar="NAME=SCHEME", help="A variant to make, such as small=int8; repeatable."),
    ],
    dataset: Annotated[Path | None, typer.Option(help="Folder that prepare-data wrote, to calibrate with.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Variants of the same model to add to.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    as_json: Json = False,
) -> None:
    """Convert a model by one or several schemes into a folder of variants."""
    from litemill.config.written import step_of

    pairs = [(entry, *entry.partition("=")[::2]) for entry in recipe]
    recipes = {name: step_of(scheme or name, f"--recipe {entry}") for entry, name, scheme in pairs}
    from litemill.stages.convert import convert

    made = convert(model, recipes, out=out, dataset=dataset, bundle=bundle, seed=seed)
    if as_json:
        console.print_json(made)
        return
    for variant in made.values():
        message = f"{variant.size_bytes:,} bytes" if variant.status == "ok" else ""
        console.out.print(_outcome(variant.recipe, message, variant.reason), highlight=False)


def evaluate(
    variants: Annotated[Path, typer.Argument(help="Folder that convert or import-model wrote.", show_default=False)],
    dataset: Dataset,
    out: Out,
    reference: Annotated[Path | None, typer.Option(help="Evaluation of the baseline, to pair with.")] = None,
    kernels: Annotated[
        str, typer.Option(help="xnnpack predicts a phone, reference a microcontroller.", metavar="xnnpack|reference")
    ] = "xnnpack",
    as_json: Json = False,
) -> None:
    """Run every variant of a folder over the test split."""
    from litemill.stages.evaluate import evaluate

    evaluated = evaluate(variants, dataset, out=out, reference=reference, kernels=kernels)
    if as_json:
        console.print_json(evaluated)
        return
    for name, found in evaluated.items():
        drop = f", drop {found.drop.value:.4f} [{found.drop.ci[0]:.4f}, {found.drop.ci[1]:.4f}]" if found.drop else ""
        message = f"{found.metric} {found.value:.4f}{drop}" if found.status == "ok" else ""
        console.out.print(_outcome(name, message, found.reason), highlight=False)


def _outcome(name: str, message: str, reason: str) -> Text:
    """A line for what worked, or failed for a reason."""
    return console.styled(name, ": ", *((message,) if message else (("failed", "red"), f": {reason}")))


def _options(written: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` pairs as a mapping; values are read as YAML, so numbers and lists are what they look like."""
    from litemill.config.plain_yaml import parse_yaml

    pairs = {}
    for entry in written:
        key, equals, value = entry.partition("=")
        if not equals:
            raise ConfigError("is not KEY=VALUE", where=f"--set {entry}")
        pairs[key] = parse_yaml(value, f"--set {key}").value
    return pairs
