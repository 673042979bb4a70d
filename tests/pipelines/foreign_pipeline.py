"""A pipeline of another team: components of Litemill from their files, and one of its own."""

from pathlib import Path

from kfp import components, dsl

FOLDER = Path(__file__).parents[2] / "components"
prepare_data, import_model, ptq, evaluate = (
    components.load_component_from_file(str(FOLDER / name / "component.yaml"))
    for name in ("prepare_data", "import_model", "ptq", "evaluate")
)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def count(evaluation: dsl.Input[dsl.Artifact]) -> int:
    """Count the variants that were evaluated."""
    from pathlib import Path

    return len(list(Path(evaluation.path).glob("*/samples.npz")))


@dsl.pipeline(name="nightly-check")
def nightly_check(model_uri: str) -> int:
    """Convert a model in two ways and evaluate both."""
    section = {"kind": "digits", "preprocessing": {"scale": 0.0625}}
    data = prepare_data(data=section, uri="", sha256="", seed=0).outputs["dataset"]
    made = import_model(uri=model_uri, sha256="", allow_unsafe=False, dataset=data)
    recipes = {"half": ["float16"], "weights": ["weights-int8"]}
    variants = ptq(model=made.outputs["model"], dataset=data, recipes=recipes, seed=0, deploy={})
    judged = evaluate(variants=variants.outputs["variants"], dataset=data, kernels="xnnpack")
    return count(evaluation=judged.outputs["evaluation"]).output
