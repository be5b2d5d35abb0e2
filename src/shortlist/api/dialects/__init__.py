"""One small pure file per dialect: request shape to task, outcome to response shape."""
