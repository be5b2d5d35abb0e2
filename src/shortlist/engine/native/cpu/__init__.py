"""The native engine's fast path on x86 CPUs with bf16: C kernels built with the package, and what calls them."""
