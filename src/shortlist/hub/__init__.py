"""Where weights come from, and what kind of model they are."""
