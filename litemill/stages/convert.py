"""Convert one model by many recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litemill.config.run import Deploy
from litemill.config.written import AnyStep, recipes_of, section_of
from litemill.convert.bundle import convert_bundle
from litemill.evidence.display import ByRecipe
from litemill.evidence.variant import VariantManifest


def convert(
    model: str | Path,
    recipes: Mapping[str, Sequence[AnyStep] | AnyStep],
    *,
    out: str | Path,
    dataset: str | Path | None = None,
    bundle: str | Path | None = None,
    seed: int = 0,
    deploy: Deploy | Mapping[str, Any] | None = None,
) -> ByRecipe[VariantManifest]:
    """Convert a model by every recipe, in a process of its own that may crash.

    A recipe that cannot work becomes a failed entry with its reason, and the others go on.

    Args:
        model: Folder of a model, as `import_model` or `train` wrote it.
        recipes: Steps by recipe name. All are recorded, the last is the conversion: `{"small": ["prune", "int8"]}`
            for a model that was pruned, or simply `{"small": "int8"}`.
        out: Folder to write: one folder a recipe with `model.tflite` and `variant.json`. It must not exist yet.
        dataset: Folder that `prepare_data` wrote: its calibration split sets the ranges of the schemes that calibrate,
            and each variant's outputs are compared with the model's on samples of its test split.
        bundle: Folder of other variants of the same model, which are copied first.
        seed: Seed of every draw.
        deploy: The `deploy` section of a run config. Without targets `lut: auto` makes no look-up tables.

    Returns:
        The manifest of each variant by recipe.

    Raises:
        ConfigError: A recipe is wrong, is in `bundle` already, or needs a dataset and there is none.
        InputError: `model` or `dataset` is not such a folder.

    Example:
        >>> import litemill as lm
        >>> variants = lm.convert("model", {"half": "float16", "small": ["int8"]}, dataset="data", out="variants")
        >>> {name: variant.status for name, variant in variants.items()}
        {'half': 'ok', 'small': 'ok'}
        >>> variants["small"].size_bytes < variants["half"].size_bytes
        True
    """
    options = section_of(Deploy, deploy, "deploy")
    made = convert_bundle(
        Path(model),
        recipes_of(recipes),
        Path(out),
        dataset=None if dataset is None else Path(dataset),
        bundle=None if bundle is None else Path(bundle),
        seed=seed,
        deploy=options,
    )
    return ByRecipe({variant.recipe: variant for variant in made})
