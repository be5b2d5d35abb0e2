"""The fast path on NVIDIA GPUs: Triton kernels between cuBLAS products, and their launchers."""
