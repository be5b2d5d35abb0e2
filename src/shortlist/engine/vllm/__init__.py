"""vLLM as the engine: servers that somebody else runs, or a child process of our own. Spoken to by token ids alone."""
