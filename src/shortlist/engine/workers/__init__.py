"""One model on several devices: an engine process for each, and the engine that shares batches out among them.

Knows how a worker is started, asked, watched and never left behind; whatever loads as an `Engine` runs in one. It knows
nothing of requests, queues or callers, and touches no device: each is its worker's alone.
"""

from shortlist.engine.workers.workers_engine import WorkersEngine, start

__all__ = ["WorkersEngine", "start"]
