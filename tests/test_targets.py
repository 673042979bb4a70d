"""Targets in a config are checked by name before any compute."""

from pathlib import Path

import pytest

from litemill.config import load_config
from litemill.errors import ConfigError

CONFIG = """\
name: t
model: {{uri: m.keras}}
data: {{kind: digits}}
recipes: {{int8: [int8]}}
targets: {targets}
"""


def write(folder: Path, targets: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(CONFIG.format(targets=targets))
    return path


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ("[hosst]", "run.yaml:5: targets.0: unknown target 'hosst'; did you mean 'host'?"),
        ("[host, host]", "run.yaml:5: targets: target 'host' is listed twice"),
    ],
)
def test_a_wrong_target_is_told_with_its_line(targets: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, targets))
    assert str(caught.value).endswith(told)
