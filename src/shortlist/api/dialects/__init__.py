"""One small pure module per dialect: request model to task, outcome to answer."""
