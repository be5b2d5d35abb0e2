"""vLLM as the engine: upstream servers, or a managed process. Requests contain token ids only."""
