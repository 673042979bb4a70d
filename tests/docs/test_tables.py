"""The option tables of docs/ are what the models say, and say something of every option."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_has_the_tables_of_the_models(tables: ModuleType) -> None:
    """`make docs` writes them. Every table is on some page."""
    used = set()
    for page in DOCS.glob("*.md"):
        text = page.read_text()
        assert tables.rewritten(text) == text, f"{page.name} is out of date: run `make docs`"
        used |= {found[2] for found in tables.BLOCK.finditer(text)}
    assert used == set(tables.tables())


def test_every_option_has_a_meaning(tables: ModuleType) -> None:
    """A name and a default do not tell a reader what to write."""
    for name, table in tables.tables().items():
        for line in table.splitlines()[2:]:
            if name not in ("schemes", "data-kinds", "metrics"):
                assert line.rsplit("|", 2)[1].strip(), f"{name}: {line}"
