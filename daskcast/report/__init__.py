"""One HTML page that tells what became of a run.

Covers choosing and telling (``page``) and drawing (``chart``). Does not cover computing any of the
numbers: all are read from the run folder.
"""

from daskcast.report.page import render, write_report

__all__ = ["render", "write_report"]
