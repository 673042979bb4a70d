"""docs/extending.md shows the package of the tests as it is."""

from __future__ import annotations

import re
import subprocess
import sys

import yaml

from tests.plugin.test_distribution import CONFIG, DISTRIBUTION, ROOT


def test_the_guide_shows_the_package_as_it_is() -> None:
    """Each file of it stands in docs/extending.md, so what a reader copies is what is tested; so is its config."""
    guide = (ROOT / "docs/extending.md").read_text()
    blocks = [block.strip() for block in re.findall(r"```\w+\n(.*?)```", guide, re.DOTALL)]
    files = [DISTRIBUTION / "pyproject.toml", *sorted((DISTRIBUTION / "litemill_fieldkit").glob("*.py"))]
    assert len(files) == 7
    for file in files:
        assert file.read_text().strip() in blocks, f"{file.name} is not in docs/extending.md as it is"
    shown = yaml.safe_load(next(block for block in blocks if block.startswith("name: fieldkit")))
    for key in ("model", "recipes", "objective"):
        assert shown[key] == CONFIG[key]


def test_what_the_guide_imports_is_there() -> None:
    """All names of litemill.extend can be had, and none is loaded with the module."""
    from litemill import extend

    assert all(getattr(extend, name) is not None for name in extend.PLACES)
    code = "import sys, litemill.extend; assert not {'pydantic', 'numpy', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
