"""Admission, queue, batches, caches, and the loop that drives them."""
