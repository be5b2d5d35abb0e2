"""One model on several devices: one engine process per device, and the engine that distributes batches among them.

Any `Engine` can run in a worker. The server process touches no device; each belongs to its worker.
"""

from shortlist.engine.workers.workers_engine import WorkersEngine, start

__all__ = ["WorkersEngine", "start"]
