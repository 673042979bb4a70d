"""The report of a run: a self-contained HTML page and a Markdown summary."""

from litemill.report.folder import read_evidence
from litemill.report.page import write_report

__all__ = ["read_evidence", "write_report"]
