"""Metrics, traces, and the logger of all packages.

Log lines, labels and spans carry names, counts, sizes and times; never a query, a document, an instruction or a key. `logs`
defines their format and destination.
"""

from __future__ import annotations

import logging

from shortlist.telemetry.metrics import Metrics

__all__ = ["Metrics", "logger"]

logger = logging.getLogger("shortlist")
