"""Put all variants side by side, apply the budget, and name the one to ship."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Markdown, Output

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def compare(
    name: str,
    run_id: str,
    run_ids: list[str],
    budget: dict,
    max_accuracy_drop: float,
    max_size_bytes: int,
    objective: str,
    diagnosis: Input[Markdown],
    results: Output[Artifact],
    report: Output[HTML],
    summary: Output[Markdown],
    registered_model: str = "",
    champion_version: str = "",
    reference: Input[Artifact] | None = None,
) -> str:
    """Rank the variants by the objective among those the budget admits, and write the report.

    Args:
        name: Name of the run.
        run_id: The parent run.
        run_ids: Ids of the variants' runs; one entry a model, separated by commas.
        budget: The config's `budget` section.
        max_accuracy_drop: In place of the section's own; a negative one means no limit.
        max_size_bytes: In place of the section's own; a negative one means no limit.
        objective: What to minimise, such as `size`.
        diagnosis: What the doctor found before the run.
        results: `results.json`, the report and every variant with its evidence.
        report: The report as a page.
        summary: The same in a few lines.
        registered_model: Name in MLflow's model registry whose champion the winner must not be worse than.
        champion_version: The champion's, from start_run; empty where there is none yet.
        reference: The evaluation of the float32 baseline, whose samples the variants are paired with.

    Returns:
        `pass` if there is a winner, else `fail`: the gate of the release. One unnamed output, because `kfp.local`
        silently takes a condition on a named one for false.
    """
    import shutil

    import litemill as lm

    ids = [one for group in run_ids for one in group.split(",") if one]
    limits = lm.Budget(**budget).replaced(max_accuracy_drop, int(max_size_bytes))
    found = lm.compare_runs(
        run_id,
        ids,
        name=name,
        budget=limits,
        objective=objective,
        out=results.path,
        diagnosis=diagnosis.path,
        basis={
            "reference": reference.path if reference else None,
            "champion": {"name": registered_model, "version": champion_version} if registered_model else None,
        },
    )
    shutil.copyfile(f"{results.path}/report.html", report.path)
    shutil.copyfile(f"{results.path}/summary.md", summary.path)
    return "pass" if found.winner else "fail"
