"""`import litemill as lm`: what other people's code may import, quick to load, and as its documentation shows it."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

import litemill as lm
from litemill.evidence.display import ByRecipe
from litemill.evidence.outcome import Evaluation
from litemill.select.results import Results

ROOT = Path(__file__).parents[1]
VERBS = (
    *("load_config", "check", "doctor", "prepare_data", "import_model", "train", "convert", "evaluate", "benchmark"),
    *("compare", "inspect", "slim"),
)
INNER = ("bundle", "statistics", "parity", "rewrite", "findings")
"""A module of each folder that has the name of a public function."""


def functions() -> list[str]:
    return [name for name in lm.__all__ if inspect.isfunction(getattr(lm, name))]


def fresh(code: str) -> str:
    """What a new Python prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def place(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the examples assume it: a config and the model it names."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "digits.keras").symlink_to(digits_model.parent / "digits.keras")
    config = {
        "name": "digits",
        "model": {"uri": "digits.keras"},
        "data": {"kind": "digits", "preprocessing": {"scale": 0.0625}, "limit": {"calibration": 100}},
        "recipes": {"int8": ["int8"]},
    }
    (folder / "digits.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_importing_it_loads_nothing_but_itself() -> None:
    """A notebook waits for what it uses, not for what it might."""
    found = json.loads(
        fresh(
            "import sys, json; before = set(sys.modules); import litemill, json; "
            "print(json.dumps(sorted(n for n in set(sys.modules) - before)))"
        )
    )
    heavy = {"numpy", "pydantic", "yaml", "rich", "typer", "kfp", "tensorflow", "mlflow"}
    assert not {name.split(".")[0] for name in found} & heavy
    assert [name for name in found if name.startswith("litemill")] == ["litemill"]


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    """The names under TYPE_CHECKING, of `__all__` and of `PLACES` are the same, and each is where they say."""
    tree = ast.parse((ROOT / "litemill/__init__.py").read_text())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == lm.PLACES
    assert sorted(lm.PLACES) == [name for name in lm.__all__ if name != "__version__"] == sorted(lm.PLACES)
    for name, place in lm.PLACES.items():
        assert getattr(lm, name).__module__ == place, name
    assert set(dir(lm)) >= set(lm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'optimize'"):
        lm.optimize  # noqa: B018


def test_a_public_name_is_its_function_whatever_was_imported_before() -> None:
    """`convert`, `evaluate`, `benchmark`, `slim` and `doctor` are folders too."""
    names = ("convert", "evaluate", "benchmark", "slim", "doctor")
    before = "".join(f"import litemill.{name}.{inner}\n" for name, inner in zip(names, INNER, strict=True))
    ask = f"import litemill as lm\nprint([getattr(lm, name).__name__ for name in {names}])\n"
    assert fresh(before + ask + before + ask).splitlines() == [str(list(names))] * 2
    assert fresh(f"from litemill import {', '.join(names)}\n" + before + ask) == str(list(names))


@pytest.mark.parametrize("name", functions())
def test_a_public_function_says_what_it_takes(name: str) -> None:
    """Types and documentation of every argument; what it writes and its options are given by keyword."""
    function = getattr(lm, name)
    hints = get_type_hints(function)
    documented = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.name in hints, parameter.name
        assert f"{parameter.name}:" in documented, parameter.name
        if parameter.name in ("out", "baseline", "training", "seed", "sha256"):
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter.name
    assert len(inspect.signature(function).parameters) <= 8
    assert "return" in hints


def test_the_examples_of_the_documentation_run_one_after_another(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verb has one, and each reads the folders that the ones before it wrote."""
    monkeypatch.chdir(place)
    for name in VERBS:
        run_example(name)
    shown = {
        "evaluate": lm.evaluate("variants", "data", out="evaluated", reference="baseline-evaluation"),
        "inspect": lm.inspect("variants/small/model.tflite"),
    }
    assert "<th>recipe</th><th>metric</th>" in shown["evaluate"]._repr_html_()
    assert list(shown["evaluate"].to_frame()["recipe"]) == ["half", "small"]
    assert {"drop", "drop_low", "drop_high"} <= set(shown["evaluate"].to_frame())
    assert "FULLY_CONNECTED" in shown["inspect"]._repr_html_()


@pytest.mark.e2e
def test_the_example_of_the_whole_pipeline_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run_example("run")


def run_example(name: str) -> None:
    function = getattr(lm, name)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    tests = finder.find(function, name, globs={})
    assert sum(len(test.examples) for test in tests) >= 2
    printed: list[str] = []
    for test in tests:
        runner.run(test, out=printed.append)
    assert runner.failures == 0, "".join(printed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lm.train("m", "d", "pruen", out="o"), "did you mean 'prune'"),
        (lambda: lm.train("m", "d", {"prune": {"sparsty": 0.5}}, out="o"), "did you mean 'sparsity'"),
        (lambda: lm.train("m", "d", "int8", out="o"), "'int8' converts a model"),
        (lambda: lm.train("m", "d", "prune", training={"epoch": 1}, out="o"), "did you mean 'epochs'"),
        (lambda: lm.convert("m", {"a": ["int9"]}, out="o"), "recipe a: unknown step 'int9'"),
        (lambda: lm.convert("m", {"a": "int8"}, deploy={"slimm": True}, out="o"), "did you mean 'slim'"),
        (lambda: lm.prepare_data({"kind": "digit"}, out="o"), "did you mean 'digits'"),
        (lambda: lm.import_model({"url": "m"}, "d", out="o", baseline="b"), "did you mean 'uri'"),
        (lambda: lm.benchmark("hots", "v", baseline="b", dataset="d", out="o"), "host"),
        (lambda: lm.check({"name": "x", "modle": {}}), "did you mean 'model'"),
        (lambda: lm.check("absent.yaml"), "absent.yaml: cannot read the config"),
        (lambda: lm.run({"name": "x"}), "missing key 'model'"),
    ],
)
def test_what_is_written_wrong_in_python_is_one_clear_error(call: object, message: str, tmp_path: Path) -> None:
    """As in a config file: the nearest valid spelling, exit code 2, before anything is read."""
    with pytest.raises(lm.ConfigError, match=message):
        call()  # type: ignore[operator]


def test_a_spec_survives_as_data() -> None:
    """What `model_dump` gives is a run config again, recipes and targets with their options included."""
    spec = lm.RunSpec(
        name="x",
        model={"uri": "m.keras"},
        data={"kind": "digits"},
        recipes={"small": [{"prune": {"sparsity": 0.4}}, "int8"]},
        targets=["host", {"name": "pi", "device": "ssh://pi", "threads": 2}],
    )
    assert (
        lm.RunSpec.model_validate(spec.model_dump()) == lm.RunSpec.model_validate_json(spec.model_dump_json()) == spec
    )


def test_nothing_in_a_notebooks_table_is_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and reasons come from users' files. Without pandas `to_frame` says what to install."""
    found = ByRecipe({"<script>": Evaluation(recipe="<script>", reason="<img src=x>", value=0.5)})
    assert "&lt;script&gt;" in found._repr_html_()
    assert "<script>" not in found._repr_html_() and "<img" not in found._repr_html_()
    assert found.to_frame()["value"][0] == 0.5
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(lm.LitemillError, match="pip install pandas"):
        found.to_frame()


def test_the_results_of_a_run_are_a_ranked_table() -> None:
    """One line a variant, the winner marked; intervals and each target's median beside."""
    written = {
        "name": "x", "objective": "size", "winner": "int8", "reason": "smallest",
        "variants": [
            {"recipe": "int8", "steps": ["int8"], "verdict": "pass", "rank": 1, "size_bytes": 1000,
             "accuracy": 0.9, "accuracy_drop": {"value": 0.01, "ci": [0.0, 0.02]},
             "measurements": {"host": {"latency_ms": {"p50": 0.5}}}},
            {"recipe": "qat", "steps": ["qat", "int8"], "status": "failed", "reason": "no <b> layer"},
        ],
    }  # fmt: skip
    results = Results.model_validate(written)
    table = results.to_frame()
    assert list(table["recipe"]) == ["int8", "qat"]
    assert (table["accuracy_drop_high"][0], table["host p50 ms"][0]) == (0.02, 0.5)
    shown = results._repr_html_()
    assert "★ int8" in shown and "0.01 [0, 0.02]" in shown and "no &lt;b&gt; layer" in shown
