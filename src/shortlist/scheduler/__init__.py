"""Who goes when: admission, queue, batches, cache, and the one loop that drives them."""
