"""Token ids to numbers: the engine interface and the engines."""
