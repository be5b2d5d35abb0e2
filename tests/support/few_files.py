"""Run shortlist with few open files: python -m tests.support.few_files NUMBER ARGUMENT ..."""

from __future__ import annotations

import resource
import runpy
import sys

if __name__ == "__main__":
    most = int(sys.argv.pop(1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    runpy.run_module("shortlist", run_name="__main__", alter_sys=True)
