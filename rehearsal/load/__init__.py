"""A steady load on the edge, with its own count of every request sent and every failure seen."""

from __future__ import annotations

from rehearsal.load.report import LoadReport, VersionReport, read_report

__all__ = ["LoadReport", "VersionReport", "read_report"]
