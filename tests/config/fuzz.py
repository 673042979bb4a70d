"""Fuzz the run config: valid ones load, come back from YAML equal and compile; anything else is one ConfigError.

`python -m tests.config.fuzz --minutes N` runs until the time is over and prints what it tried.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litemill.config.load import load_config
from litemill.config.names import slug
from litemill.config.run import RunSpec
from litemill.errors import ConfigError
from litemill.pipelines.kubeflow import build_pipeline
from litemill.pipelines.plan import plan

COMPILED = 30
"""One in so many valid configs is compiled too: Kubeflow takes its time."""
Config = dict[str, Any]
names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
paths = st.from_regex(r"[A-Za-z0-9._/-]{1,40}", fullmatch=True)
fractions = st.floats(0, 1)


def mapping(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """A mapping in which any of the keys may be left out."""
    return st.fixed_dictionaries({}, optional=keys)


def step(name: str, **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A step alone, or with some of its options."""
    return st.just(name) | mapping(**options).map(lambda given: {name: given})


prune = step("prune", sparsity=st.floats(0.1, 0.95), schedule=st.sampled_from(["polynomial", "constant"]))
cluster = step("cluster", clusters=st.integers(3, 256), per_channel=st.booleans())
schemes = st.sampled_from(["float32", "float16", "dynamic", "int16x8", "mixed-int8", "weights-int8", "weights-int4"])
int8 = step("int8", io=st.sampled_from(["int8", "uint8", "float32"]))
trained = st.tuples(prune, cluster).map(list) | st.tuples(prune).map(list) | st.just([])
recipes = st.tuples(trained, int8 | schemes).map(lambda parts: [*parts[0], parts[1]]) | trained.map(
    lambda steps: [*steps, "qat", "int8"]
)
data = st.just({"kind": "digits"}) | st.fixed_dictionaries(
    {"kind": st.sampled_from(["npz", "numpy"]), "uri": paths},
    optional={
        "preprocessing": mapping(scale=st.floats(-10, 10), mean=st.lists(st.floats(-1e6, 1e6), max_size=3)),
        "limit": mapping(train=st.integers(1, 10**6), calibration=st.integers(1, 1000)),
        "task": st.sampled_from(["classification", "binary", "regression"]),
    },
)
configs = st.fixed_dictionaries(
    {
        "name": names,
        "model": st.fixed_dictionaries({"uri": paths}, optional={"allow_unsafe": st.booleans()}),
        "data": data,
        "recipes": st.dictionaries(
            names.filter(lambda name: slug(name) != "baseline"), recipes, min_size=1, max_size=5
        ).filter(lambda found: len({slug(name) for name in found}) == len(found)),
    },
    optional={
        "training": mapping(
            epochs=st.integers(1, 100_000),
            learning_rate=st.floats(1e-9, 100),
            seed=st.integers(0, 2**31 - 1),
            optimizer=st.sampled_from(["adam", "adamw", "sgd"]),
            validation=st.floats(0.01, 0.5),
        ),
        "targets": st.lists(st.sampled_from(["host", "tflm", "ethos-u55-128"]), min_size=1, max_size=3, unique=True),
        "budget": mapping(max_accuracy_drop=fractions, max_size_bytes=st.integers(1, 2**40)),
        "deploy": mapping(slim=st.booleans()),
        "cluster": mapping(
            cpu=st.sampled_from(["500m", "2"]),
            retries=st.integers(0, 10),
            components=st.dictionaries(st.sampled_from(["prune", "compare"]), mapping(memory=st.just("4Gi"))),
        ),
    },
)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["{}", "host", "ssh://[", "int8", "a" * 5000, "\x07", "1e-4", "-1", "\ud7ff"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place below a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in inner for place in ((*at, key), *places(part, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Config:
    """A valid config with up to three values replaced, added, removed or renamed."""
    config = copy.deepcopy(draw(configs))
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(places(config) or [("name",)]))
        inner: Any = config
        for key in parents:
            inner = inner[key]
        change = draw(st.sampled_from(["replace", "remove", "rename", "add"]))
        if change == "replace" or not isinstance(inner, dict):
            inner[last] = draw(junk)
        elif change == "add":
            inner[draw(st.text(max_size=10))] = draw(junk)
        else:
            value = inner.pop(last)
            if change == "rename":
                inner[f"{last}{draw(st.text(min_size=1, max_size=2))}"] = value
    return config


texts = st.text(max_size=200) | st.lists(
    st.sampled_from(
        ["name:", " t", "\n", "  ", "- ", "[", "]", "{", "}", "&a", "*a", "<<: *a", "!!int", '"', "'", "|", "? "]
    ),
    max_size=40,
).map("".join)


class Fuzzer:
    """Tries configs and counts how they ended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run.yaml"
        self.counts: Counter[str] = Counter()

    def valid(self, config: Config) -> None:
        """A valid config loads, plans, and comes back equal from what it is written as."""
        self.path.write_text(json.dumps(config, indent=1))  # JSON is YAML in which a text is never a number
        spec = load_config(self.path)
        made = plan(spec)
        delivered = [name for model in made.walk() for name in model.recipes]
        assert sorted(delivered) == sorted(spec.recipes)
        assert len({model.name for model in made.walk()}) == len(made.walk())
        full = spec.model_dump(mode="json", exclude_none=True)
        full["recipes"] = {name: [{one.name: one.options} for one in steps] for name, steps in spec.recipes.items()}
        self.path.write_text(json.dumps(full))
        assert load_config(self.path) == spec
        if self.counts["valid"] % COMPILED == 0:
            build_pipeline(spec)
        self.counts["valid"] += 1

    def mutated(self, config: Config) -> None:
        """A changed config loads, or is refused with one ConfigError; what loads can be planned."""
        try:
            text = yaml.safe_dump(config, allow_unicode=True)
        except (yaml.YAMLError, ValueError):
            return
        self._try(text.encode("utf-8", "surrogatepass"))

    def text(self, text: str) -> None:
        """Any text is refused with one ConfigError, or is a config."""
        self._try(text.encode("utf-8", "surrogatepass"))

    def _try(self, content: bytes) -> None:
        self.path.write_bytes(content)
        began = time.monotonic()
        try:
            spec = load_config(self.path)
        except ConfigError as error:
            message = str(error)
            assert message.startswith(str(self.path)) and len(message) < 20_000, message[:200]
            assert all(line.isprintable() for line in message.splitlines()), message[:200]
            self.counts["refused"] += 1
        else:
            assert isinstance(spec, RunSpec)
            plan(spec)
            self.counts["loaded"] += 1
        assert time.monotonic() - began < 20


def attempt(
    strategy: st.SearchStrategy[Any], check: Callable[[Any], None], examples: int, *, derandomize: bool
) -> None:
    """Call the check with that many examples; what fails is made smaller and raised."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=derandomize,
    )
    @given(strategy)
    def tried(example: Any) -> None:
        check(example)

    tried()


def fuzz(examples: int, folder: Path, *, seconds: float = 0) -> Counter[str]:
    """Try that many configs of each of three kinds, or until the time is over; what is wrong raises."""
    fuzzer, end = Fuzzer(folder), time.monotonic() + seconds
    kinds: list[tuple[st.SearchStrategy[Any], Callable[[Any], None]]] = [
        (configs, fuzzer.valid),
        (mutated(), fuzzer.mutated),
        (texts, fuzzer.text),
    ]
    while True:
        for strategy, check in kinds:
            attempt(strategy, check, examples, derandomize=not seconds)
        if time.monotonic() >= end:
            return fuzzer.counts


def main() -> None:
    """Fuzz for the minutes on the command line and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=1.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="litemill-fuzz-") as folder:
        counts = fuzz(200, Path(folder), seconds=minutes * 60)
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))  # noqa: T201


if __name__ == "__main__":
    main()
