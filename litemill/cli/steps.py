"""`litemill data|import|step|convert|evaluate`: what the pipeline's tasks do, one at a time, from the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.text import Text

from litemill.cli import console
from litemill.config.data_kinds import Kernels
from litemill.errors import ConfigError

Config = Annotated[Path, typer.Argument(help="run config (YAML)", show_default=False)]
DatasetFolder = Annotated[Path, typer.Argument(metavar="DATASET", help="folder that `litemill data` wrote")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="folder of `litemill import` or `litemill step`")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="folder to write; it must not be there yet")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("data")(data)
    app.command("import")(import_source)
    app.command("step")(step)
    app.command("convert")(convert)
    app.command("evaluate")(evaluate)


def data(config: Config, out: Out) -> None:
    """Read the config's data and write its train, calibration and test splits."""
    from litemill.config.load import load_config
    from litemill.stages.prepare import prepare_for_model

    spec = load_config(config)
    manifest = prepare_for_model(spec.data, spec.model, spec.training.seed, out)
    counts = ", ".join(f"{info.samples} {split}" for split, info in manifest.splits.items())
    console.out.print(f"{out}: {manifest.inputs or manifest.input_shape} {manifest.dtype}, {counts}", highlight=False)


def import_source(config: Config, dataset: DatasetFolder, out: Out, baseline: Out) -> None:
    """Bring the config's model in, and convert its float32 baseline into the second folder."""
    from litemill.config.load import load_config
    from litemill.stages.import_model import import_model

    model = load_config(config).model
    manifest = import_model(model, dataset, out=out, baseline=baseline)
    console.out.print(f"{out}: {manifest.parameters:,} parameters; baseline in {baseline}", highlight=False)


def step(
    name: Annotated[str, typer.Argument(help="prune, cluster, qat or finetune")],
    config: Config,
    model: ModelFolder,
    dataset: DatasetFolder,
    out: Out,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="an option of the step, such as sparsity=0.5")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="the source model's folder: the teacher of a distillation")
    ] = None,
) -> None:
    """Take one train-aware step with the config's training section."""
    from litemill.config.base import nearest
    from litemill.config.load import load_config
    from litemill.config.steps import TRAIN_STEPS, parse_step

    if name not in TRAIN_STEPS:
        raise ConfigError(f"no train-aware step {name!r}; {nearest(name, list(TRAIN_STEPS))}")
    try:
        asked = parse_step({name: _options(option or [])})
    except ValueError as error:
        message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(message.removeprefix("Value error, ")) from None
    from litemill import compress

    training = load_config(config).training
    take = getattr(compress, f"{name}_model")
    manifest = take(model, dataset, asked.parsed(), training, out, source=source)
    if manifest.status != "ok":
        console.out.print(console.styled(("failed", "red"), ": ", manifest.reason))
        raise typer.Exit(1)
    console.out.print(f"{out}: {manifest.steps[-1].measured}", highlight=False)


def convert(
    model: ModelFolder,
    out: Out,
    recipe: Annotated[
        list[str], typer.Option("--recipe", metavar="NAME=SCHEME", help="a variant to make, such as small=int8")
    ],
    dataset: Annotated[Path | None, typer.Option(help="for the schemes that calibrate")] = None,
    bundle: Annotated[Path | None, typer.Option(help="variants of the same model to add to")] = None,
    seed: Annotated[int, typer.Option(help="seeds the representative dataset")] = 0,
) -> None:
    """Convert a model by one or several schemes into a bundle of variants."""
    from litemill.config.steps import parse_step
    from litemill.convert import convert_bundle

    recipes = {}
    for entry in recipe:
        name, _, scheme = entry.partition("=")
        try:
            recipes[name] = [parse_step(scheme or name)]
        except ValueError as error:
            raise ConfigError(str(error), where=f"--recipe {entry}") from None
    for variant in convert_bundle(model, recipes, out, dataset=dataset, bundle=bundle, seed=seed):
        message = f"{variant.size_bytes:,} bytes" if variant.status == "ok" else ""
        console.out.print(_outcome(variant.recipe, message, variant.reason), highlight=False)


def evaluate(
    variants: Annotated[Path, typer.Argument(help="bundle that `litemill convert` or `litemill import` wrote")],
    dataset: DatasetFolder,
    out: Out,
    reference: Annotated[Path | None, typer.Option(help="evaluation of the baseline, to pair with")] = None,
    kernels: Annotated[Kernels, typer.Option(help="xnnpack predicts a phone, reference a microcontroller")] = "xnnpack",
) -> None:
    """Run every variant of a bundle over the test split."""
    from litemill.evaluate import evaluate_bundle

    for name, found in evaluate_bundle(variants, dataset, out, reference, kernels=kernels).items():
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
            raise ConfigError("is no KEY=VALUE", where=f"--set {entry}")
        pairs[key] = parse_yaml(value, f"--set {key}").value
    return pairs
