"""The native engine's fast path on NVIDIA GPUs: Triton kernels between cuBLAS products, and what launches them."""
