"""Metrics, traces, and the logger of all packages.

Log lines, labels and spans contain names, counts, sizes and times; never a query, document, instruction or key.
"""

from __future__ import annotations

import logging

from shortlist.telemetry.metrics import Metrics

__all__ = ["Metrics", "logger"]

logger = logging.getLogger("shortlist")
