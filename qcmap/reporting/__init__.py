"""Reports: one page of HTML about a network, which works without a network."""

from qcmap.reporting._report import Report, report

__all__ = ["Report", "report"]
