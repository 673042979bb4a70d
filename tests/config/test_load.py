"""Any file ends in a config or in one clear error: with its line, its key and what to do, within seconds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from litemill.config.load import load_config
from litemill.config.run import NO_LIMIT, Budget, DataSpec, Training
from litemill.errors import ConfigError

GOOD = "name: t\nmodel: {uri: m.keras}\ndata: {kind: digits}\nrecipes: {int8: [int8]}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN = {
    "in UTF-16": (GOOD.encode("utf-16"), ":1: is encoded as UTF-16. Save it as UTF-8"),
    "in UTF-32": (GOOD.encode("utf-32"), ":1: is encoded as UTF-32. Save it as UTF-8"),
    "in Latin-1": ("name: café\n".encode("latin-1"), ":1: byte 0xe9 is not UTF-8"),
    "with NUL": (GOOD.encode() + b"\0", ":5: holds the control character U+0000"),
    "with a bell": (GOOD + 'x: "\\a"\n', ":5: '\\x07' holds the control character U+0007"),
    "half an integer": (GOOD + "training: {epochs: 0x_}", ":5: '0x_' cannot be read as int"),
    "5,000 digits": (GOOD + f"training: {{epochs: {'9' * 5000}}}", "cannot be read as int"),
    "300 digits": (GOOD + f"training: {{seed: {'9' * 300}}}", "training.seed: Input should be less than or equal"),
    "more than a double": (
        GOOD + f"training: {{learning_rate: {'9' * 350}}}",
        "learning_rate: Input should be a valid",
    ),
    "100,000 brackets": ("a: " + "[" * 100_000, ":1: is nested more than 24 levels deep"),
    "300 indents": ("".join(f"{' ' * depth}a:\n" for depth in range(300)), ":25: is nested more than 24 levels deep"),
    "a tag that does not parse": (GOOD + "x: !!int abc", ":5: 'abc' cannot be read as int"),
    "a tag of YAML 1.1": (GOOD + "x: !!timestamp abc", ":5: the tag 'tag:yaml.org,2002:timestamp' is not"),
    "a Python tag": (GOOD + "x: !!python/object/apply:os.system [ls]", ":5: the tag "),
    "an alias bomb": (BOMB + GOOD, ":5: holds more than 50,000 values with its aliases expanded"),
    "a bomb of merges": (MERGES + GOOD, "holds more than 50,000 values with its aliases expanded"),
    "an alias in itself": ("a: &a [*a]\n", ":1: an alias holds itself"),
    "20,000 unknown keys": (GOOD + "".join(f"k{n}: 1\n" for n in range(20_000)), "… and 19980 more mistakes"),
    "a key of 500,000 letters": (GOOD + f'? "{"k" * 500_000}"\n: 1\n', ":5: unknown key "),
    "more than 1 MB": (GOOD + "#" * (1 << 20), "is larger than 1,048,576 bytes"),
    "a key that is a list": (GOOD + "? [a, b]\n: 1\n", ":5: a key is a name"),
    "a key twice": (GOOD + "name: u\n", ":5: the key 'name' is there twice, first in line 1. Keep one of them"),
    "a key twice inside": (GOOD + "training: {epochs: 1,\n  epochs: 2}\n", ":6: the key 'epochs' is there twice"),
    "a list": ("- a\n", "a run config is a mapping"),
    "nothing": ("", "a run config is a mapping"),
    "a long path": (GOOD.replace("m.keras", "m" * 5000), ":2: model.uri: String should have at most 4096"),
    "a long file name": (GOOD.replace("m.keras", "m" * 300), ":2: model.uri: "),
    "a line break in a path": (GOOD.replace("m.keras", '"m\\n"'), ":2: model.uri: 'm\\n' has characters that cannot"),
    "a target of 10,000 brackets": (GOOD + "targets: ['" + '{"a":' * 2000 + "']", ":5: targets.0: a target is"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_clear_error_within_seconds(name: str, tmp_path: Path) -> None:
    written, answer = BROKEN[name]
    path = tmp_path / "run.yaml"
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert time.monotonic() - began < 60, "seconds, not minutes, on the slowest machine"
    message = str(caught.value)
    assert message.startswith(f"{path}:") and answer in message
    assert caught.value.exit_code == 2
    assert len(message) < 10_000, "what a stranger wrote is repeated in part only"


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ("cluster: {components: {prune: {memry: 1Gi}}}", "'cluster.components.prune.memry'; did you mean 'memory'?"),
        ("cluster: {secrets: [{name: a, mont: /x}]}", "'cluster.secrets.0.mont'; did you mean 'mount'?"),
        ("cluster: {components: {prune: {tolerations: [{key: a, efect: x}]}}}", "did you mean 'effect'?"),
        ("cluster: {volumes: [{claim: a, mount: /x, moun: y}]}", "'cluster.volumes.0.moun'; did you mean 'mount'?"),
        ("training: {augmentation: {flp: true}}", "'training.augmentation.flp'; did you mean 'flip'?"),
        ("budget: {max_accuracy_drop: -0.1}", "budget.max_accuracy_drop: Input should be greater than or equal to 0"),
        ("budget: {max_accuracy_drop: .nan}", "budget.max_accuracy_drop: Input should be a finite number"),
        ("budget: {max_latency_ms: {host: .inf}}", "budget.max_latency_ms.host: Input should be a finite number"),
        ("budget: {max_accuracy_drop: 3}", "top1 is a fraction of 1; for 3 percentage points write 0.03"),
        ("training: {epochs: true}", "training.epochs: Input should be a valid integer, not True"),
        ("training: {epochs: '3'}", "training.epochs: Input should be a valid integer, not '3'"),
        ("training: {learning_rate: yes}", "training.learning_rate: Input should be a valid number, not True"),
        ("deploy: {slim: 1}", "deploy.slim: Input should be a valid boolean, not 1"),
        ("deploy: {lut: 1}", "deploy.lut: is auto, true or false, not 1"),
        ("deploy: {lut: on_}", "deploy.lut: is auto, true or false, not 'on_'"),
        ("deploy: {lut_arena_bytes: 0}", "deploy.lut_arena_bytes: Input should be greater than 0"),
        ("training: {epochs: 1000000000}", "training.epochs: Input should be less than or equal to 100000"),
        ("targets: ['ssh://h:99999999']", "targets.0: target 'ssh://h:99999999': an address is ssh://"),
        ("targets: ['ssh://[::1']", "targets.0: target 'ssh://[::1': an address is ssh://"),
        ("targets: ['ssh://u:hunter2@h']", "targets.0 looks like a secret"),
        ("targets: [{name: a.b, device: host}, {name: a-b, device: host}]", "targets 'a.b' and 'a-b' are both 'a-b'"),
        ("cluster: {env: {a b: c}}", "'a b' is not a variable's name"),
        ("cluster: {secrets: [{name: Big_Name, mount: /x}]}", "'Big_Name' is not a name of lower-case letters"),
        ("cluster: {volumes: [{claim: a, mount: x}]}", "'x' is not an absolute path"),
        ("tracking: {registered_model: x y}", "tracking.registered_model: registered model 'x y'"),
    ],
)
def test_nonsense_is_refused_by_its_key(more: str, answer: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(GOOD + more)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert answer in str(caught.value) and str(caught.value).startswith(f"{path}:5: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "wanted", "arena"),
    [
        ("", False, None),
        ("targets: [host, tflm]", True, None),
        ("targets: [host, tflm]\nobjective: arena:tflm", False, None),
        ("targets: [host, tflm]\nobjective: size:tflm\ndeploy: {lut: false}", False, None),
        ("targets: [{name: a, device: tflm}, tflm]\nbudget: {max_arena_bytes: {a: 5000, tflm: 7000}}", True, 5000),
        ("targets: [tflm]\nbudget: {max_arena_bytes: {tflm: 7000}}\ndeploy: {lut_arena_bytes: 9000}", True, 9000),
        ("targets: [host]\ndeploy: {lut: true}", True, None),
        ("targets: [ethos-u55-128]\nbudget: {max_arena_bytes: {ethos-u55-128: 7000}}", False, None),
    ],
)
def test_targets_budget_and_objective_settle_whether_there_are_look_up_tables(
    more: str, wanted: bool, arena: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(GOOD + more)
    found = load_config(path).delivery
    assert (found.lut, found.lut_arena_bytes) == (wanted, arena)


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("name: t", f"name: {'a' * 300}", ":1: name: a name 'aaa"),
        ("name: t", 'name: "t\\n"', ":1: name: a name 't\\n': letters, digits"),
        (
            "{int8: [int8]}",
            "{x.y: [int8], x-y: [int8]}",
            ":4: recipes: recipes 'x.y' and 'x-y' are both 'x-y' in lower",
        ),
        ("{int8: [int8]}", "{C: [int8], c: [int8]}", ":4: recipes: recipes 'C' and 'c' are both 'c'"),
        ("{int8: [int8]}", "{Baseline: [int8]}", ":4: recipes: recipes 'baseline' and 'Baseline'"),
        ("{kind: digits}", "{kind: npz, uri: x, inputs: {a: {scle: 1}, b: {}}}", "'data.inputs.a.scle'; did you mean"),
        ("{kind: digits}", "{kind: tfrecord, uri: x, preprocessing: {resize: [1000000, 2]}}", "equal to 8192"),
        ("{kind: digits}", "{kind: tfrecord, uri: x, preprocessing: {resize: [2]}}", "two sizes, height and width"),
    ],
)
def test_names_and_sizes_that_cannot_work_are_refused(old: str, new: str, answer: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert answer in str(caught.value)


def test_what_people_write_is_read_as_they_mean_it(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    common = "training: &t {learning_rate: 1e-4, epochs: 2}\n"
    more = "cluster: {components: {prune: {memory: 4Gi}}}\nbudget: {max_accuracy_drop: 3}\n"
    text = GOOD.replace("name: t", "name: 2024-02-30").replace(
        "{kind: digits}", "{kind: npz, uri: x, task: regression}"
    )
    path.write_bytes(b"\xef\xbb\xbf" + (text + common + more).encode())
    spec = load_config(path)
    assert spec.name == "2024-02-30", "a date is a text"
    assert (spec.training.learning_rate, spec.training.epochs) == (1e-4, 2)
    assert spec.budget.max_accuracy_drop == 3, "the error of a regression has the unit of its target"
    assert spec.cluster.components["prune"].memory == "4Gi"


@pytest.mark.parametrize("make", ["fifo", "folder", "missing", "unreadable", "long"])
def test_what_is_not_a_file_is_refused_at_once(make: str, tmp_path: Path) -> None:
    path = tmp_path / ("n" * 300 if make == "long" else "run.yaml")
    if make == "fifo":
        os.mkfifo(path)
    elif make == "folder":
        path.mkdir()
    elif make == "unreadable":
        path.symlink_to(path)
    with pytest.raises(ConfigError, match=r"is not a file|cannot read the config \("):
        load_config(path)


def test_numbers_that_came_through_kubeflow_are_whole_again() -> None:
    assert Training.model_validate({"epochs": 2.0, "seed": 7.0}).epochs == 2
    assert DataSpec.model_validate({"kind": "digits", "limit": {"train": 100.0}}).limit.train == 100
    with pytest.raises(ValueError, match="valid integer"):
        Training.model_validate({"epochs": 2.5})


def test_no_limit_is_known_inside_only() -> None:
    budget = Budget(max_accuracy_drop=0.01, max_size_bytes=5)
    assert budget.replaced(NO_LIMIT, NO_LIMIT) == Budget()
    assert budget.replaced(0.5, 7) == Budget(max_accuracy_drop=0.5, max_size_bytes=7)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite number"):
            budget.replaced(wrong, 7)
