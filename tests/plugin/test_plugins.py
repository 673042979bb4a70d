"""Registries hold what Litemill and other packages bring: read once, loaded late, each name one package's."""

from __future__ import annotations

import doctest
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from litemill import __version__, plugins
from litemill.errors import ConfigError
from litemill.plugins import Origin, Registry, load


@dataclass(frozen=True)
class Paint:
    """A record of the tests."""

    name: str
    price: int = 1


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path where `install` puts packages."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(folder: Path, distribution: str, code: str, points: dict[str, str]) -> None:
    """Put a package there as pip leaves it: a module, and a dist-info folder with its entry points."""
    module = distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[tests.paints]", *lines]) + "\n")


def paints() -> Registry[Paint]:
    """A registry as a new process has it."""
    return Registry("paint", "tests.paints", Paint, [Paint("white"), Paint("black")])


GOOD = "from test_plugins import Paint\nOCHRE = Paint('ochre', 7)\n"


def test_a_name_is_found_with_the_package_that_brought_it(installed: Path) -> None:
    """Ours first, then others; listing names loads no package, and only the package that is named is loaded."""
    install(installed, "earth-paints", GOOD, {"ochre": "earth_paints:OCHRE"})
    install(installed, "never-needed", "raise SystemExit(3)", {"azure": "never_needed:X"})
    registry = paints()
    assert registry.names() == list(registry) == ["white", "black", "azure", "ochre"]
    assert "ochre" in registry and "umber" not in registry
    assert "earth_paints" not in sys.modules
    assert registry["ochre"] == Paint("ochre", 7)
    assert registry.brought_by("ochre") == Origin("earth-paints", "2.5")
    assert registry.brought_by("white") == Origin("litemill", __version__)
    assert "never_needed" not in sys.modules


def test_an_unknown_name_lists_what_there_is(installed: Path) -> None:
    """The nearest spelling where there is one, also of another package's name; else everything."""
    install(installed, "earth-paints", GOOD, {"ochre": "earth_paints:OCHRE"})
    registry = paints()
    for ask in (registry.__getitem__, registry.brought_by):
        with pytest.raises(ConfigError, match="unknown paint 'ocre'; did you mean 'ochre'"):
            ask("ocre")
        with pytest.raises(ConfigError, match="known: white, black, ochre"):
            ask("xyz")


def test_a_name_claimed_twice_names_both_packages(installed: Path) -> None:
    """Two packages, or a package and Litemill: asking for that name is an error, other names work."""
    install(installed, "earth-paints", GOOD, {"ochre": "earth_paints:OCHRE"})
    copy = f"{GOOD}WHITE = Paint('white')\n"
    install(installed, "copy-paints", copy, {"ochre": "copy_paints:OCHRE", "white": "copy_paints:WHITE"})
    registry = paints()
    for ask in (registry.__getitem__, registry.brought_by):
        with pytest.raises(ConfigError, match=r"'ochre' is claimed by 2 packages: copy-paints 2\.5, earth-paints 2\.5"):
            ask("ochre")
        with pytest.raises(ConfigError, match=rf"'white' is claimed by .*litemill {__version__}, copy-paints 2"):
            ask("white")
    assert registry["black"] == Paint("black")


@pytest.mark.parametrize(
    ("code", "point", "complaint"),
    [
        ("import absent_module", "bad_paints:X", "cannot be imported .*absent_module"),
        ("1 / 0", "bad_paints:X", "cannot be imported .*division"),
        ("", "bad_paints:X", "cannot be imported .*X"),
        ("X = 'red'", "bad_paints:X", "is a str, not a .*Paint"),
        (GOOD, "bad_paints:OCHRE", "has another name, 'ochre'"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    installed: Path, caplog: pytest.LogCaptureFixture, code: str, point: str, complaint: str
) -> None:
    """In one line, when its name is asked for; a list of all records goes on without it."""
    sys.modules.pop("bad_paints", None)
    install(installed, "bad-paints", code, {"red": point})
    registry = paints()
    with pytest.raises(ConfigError, match=rf"paint 'red' of bad-paints 2\.5: .*{complaint}") as raised:
        registry["red"]
    assert "\n" not in str(raised.value)
    assert [paint.name for paint in registry.records()] == ["white", "black"]
    assert "bad-paints 2.5" in caplog.text
    sys.modules.pop("bad_paints", None)


def test_an_implementation_is_loaded_by_its_name() -> None:
    """Or there is one line that says what cannot be imported."""
    assert load("pathlib:Path") is Path
    for reference in ("absent.module:name", "pathlib:absent", "pathlib", ":x", "..x:y"):
        with pytest.raises(ConfigError, match="cannot be imported"):
            load(reference)


def test_the_examples_of_the_docstrings_run() -> None:
    """What `help(Registry)` shows is true."""
    done = doctest.testmod(plugins)
    assert done.attempted >= 4
    assert not done.failed
