"""The web page, a visitor that speaks HTTP like everyone else."""
