"""Measure what Litemill costs against its peers: `make bench`, or one case with `make bench CASE=name`.

    python -m benchmarks [CASE …] [--minutes 38] [--list]

Every case measures itself and its peer on this machine in this run, prints its ratios with their 95 % intervals, and
writes `benchmarks/results/<case>.json`; the tables of the pages are rendered from these files. A case that cannot be
measured keeps its old file, is named with its error at the end, and makes the exit code 1; so does a missed goal.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks.cases import CASES, Case, case_of
from benchmarks.programs import BenchmarkFailed
from benchmarks.record import Result, this_commit, this_machine, today, write
from benchmarks.session import MINUTES, Session
from benchmarks.table import line_of, write_pages


def main() -> int:
    """Run the cases; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="those to measure; all by default")
    parser.add_argument("--list", action="store_true", help="say which cases there are")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="after which nothing long is repeated; 0: all once, no intervals"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        cases = [case_of(name) for name in options.cases] or list(CASES)
    except KeyError as error:
        parser.error(str(error.args[0]))
    if options.list:
        for case in cases:
            _say(f"{case.name:14} {case.what}, against {case.against}")
        return 0
    began = time.monotonic()
    failed: dict[str, str] = {}
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="litemill-bench-") as folder:
        session = Session(Path(folder), lambda text: _say(f"  … {text}"), minutes=options.minutes)
        for case in cases:
            try:
                result = measure(case, session)
            except Exception as error:
                failed[case.name] = str(error) if isinstance(error, BenchmarkFailed) else traceback.format_exc()
                _say(f"FAILED {case.name}: {failed[case.name]}")
                continue
            missed += [f"{case.name}: {line_of(figure)}" for figure in result.figures if not figure.met]
    for page in write_pages():
        _say(f"{page} written")
    _say(f"{len(cases) - len(failed)} of {len(cases)} cases measured in {(time.monotonic() - began) / 60:.0f} min")
    for line in missed:
        _say(f"goal missed by {line}")
    for name, reason in failed.items():
        _say(f"FAILED {name}, whose old result is kept: {reason.splitlines()[0]}")
    return 1 if failed or missed else 0


def measure(case: Case, session: Session) -> Result:
    """Measure a case, print what was found and keep it."""
    _say(f"{case.name}: {case.what}")
    machine, commit, began = this_machine(), this_commit(), time.monotonic()
    found = case.measure(session)
    result = Result(
        case=case.name,
        figures=found.figures,
        samples=found.samples,
        notes=found.notes,
        commit=commit,
        date=today(),
        seconds=round(time.monotonic() - began, 1),
        machine=machine,
    )
    write(result)
    for figure in result.figures:
        _say(f"  {line_of(figure)} (goal {figure.wanted})")
    return result


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
