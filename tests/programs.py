"""Stand-ins for programs that a user brings, as executables with a behaviour."""

from __future__ import annotations

import sys
from pathlib import Path


def benchmark_model(folder: Path, behaviour: str = "good") -> Path:
    """Google's benchmark_model; not executable yet, as it may come out of a download."""
    return _write(folder / f"benchmark model {behaviour}", "stand_in_benchmark_model.py", behaviour)


def edgetpu_compiler(folder: Path, behaviour: str = "good") -> Path:
    """Coral's edgetpu_compiler."""
    path = _write(folder / f"edgetpu compiler {behaviour}", "stand_in_edgetpu_compiler.py", behaviour)
    path.chmod(0o755)
    return path


def _write(path: Path, source: str, behaviour: str) -> Path:
    text = Path(__file__).with_name(source).read_text()
    path.write_text(f"#!{sys.executable}\n" + text.replace('BEHAVIOUR = "good"', f'BEHAVIOUR = "{behaviour}"', 1))
    return path
