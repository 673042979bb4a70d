"""The component files: what the components compile to, and of use in a pipeline that is not Litemill's."""

from __future__ import annotations

from pathlib import Path

import pytest
from kfp import components, local

from litemill.artifacts.files import read_manifest
from litemill.evidence.outcome import Evaluation
from litemill.pipelines.published import all_components, publish_components

ROOT = Path(__file__).parents[2]


def test_the_published_files_are_what_the_components_compile_to(tmp_path: Path) -> None:
    """A change of what others load is seen in review. `make golden` writes the files anew."""
    written = {file.relative_to(tmp_path): file.read_text() for file in publish_components(tmp_path)}
    shipped = [file for file in (ROOT / "components").rglob("*") if file.is_file()]
    assert {file.relative_to(ROOT / "components"): file.read_text() for file in shipped} == written
    assert set(all_components()) == {file.parent.name for file in written if file.name == "component.yaml"}
    for file in written:
        if file.name == "component.yaml":
            loaded = components.load_component_from_file(str(ROOT / "components" / file))
            assert set(loaded.component_spec.inputs) == set(all_components()[file.parent.name].component_spec.inputs)


@pytest.mark.e2e
def test_a_pipeline_of_another_team_uses_them(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four components from their files and one task of the team's own, run by kfp.local."""
    from tests.pipelines.foreign_pipeline import nightly_check

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    run = nightly_check(model_uri=str(digits_model.parent / "digits.keras"))
    assert run.output == 2
    found = {file.parent.name: read_manifest(file, Evaluation) for file in tmp_path.rglob("evaluation.json")}
    assert set(found) == {"half", "weights"}
    assert all(one.status == "ok" and one.value > 0.8 for one in found.values())
