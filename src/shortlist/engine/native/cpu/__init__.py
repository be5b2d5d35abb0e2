"""The fast path on x86 CPUs with bf16: C kernels, built with the package, and their callers."""
