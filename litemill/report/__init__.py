"""The report of a run: a self-contained HTML page and a Markdown summary."""

from litemill.report.page import write_report

__all__ = ["write_report"]
