"""Compiles every kernel as the engine launches it, for GPUs that need not be there: `python -m tests.support.compiled`.

Prints one JSON line for each: its name, the architecture, and the bytes that a program shares.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from shortlist.engine.native.cuda import launch, triton_kernels
from shortlist.engine.native.portable_ops import Rope

ARCHITECTURES = [80, 90]
WIDTH, HEADS, GROUPS, HIDDEN, INNER = 128, 16, 8, 1024, 3072  # Qwen3-Reranker-0.6B

FP8_ARCHITECTURE = 89

_POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float8_e4m3fn: "*fp8e4nv",
    torch.int32: "*i32",
}


@dataclass(frozen=True)
class Compiler:
    """Stands where a kernel does, and compiles it for what it is called with."""

    name: str
    kernel: Any
    architecture: int

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return self._compile

    def _compile(self, *arguments: object, **options: Any) -> None:
        constants = {name: options.pop(name) for name in self.kernel.arg_names if name in options}
        signature = {name: _kind(value) for name, value in zip(self.kernel.arg_names, arguments, strict=False)}
        aligned = [
            at for at, value in enumerate(arguments) if isinstance(value, Tensor) or (type(value) is int and not value % 16)
        ]
        source = ASTSource(
            fn=self.kernel,
            signature=signature | dict.fromkeys(constants, "constexpr"),
            constexprs=constants,
            attrs={(at,): [["tt.divisibility", 16]] for at in aligned},
        )
        built = triton.compile(source, target=GPUTarget("cuda", self.architecture, 32), options=options)
        print(json.dumps({"kernel": self.name, "architecture": self.architecture, "shared_bytes": built.metadata.shared}))


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return _POINTERS[value.dtype]
    return "i32" if isinstance(value, int) else "fp32"


def launch_everything(dtype: torch.dtype) -> None:
    half = torch.empty(2, WIDTH // 2)
    launch.rms_norm(torch.empty(2, HIDDEN, dtype=dtype), torch.empty(HIDDEN), 1e-6)
    launch.silu_mul(torch.empty(2, 2 * INNER, dtype=dtype))
    q, kv = torch.empty(2, HEADS * WIDTH, dtype=dtype), torch.empty(2, 2 * GROUPS * WIDTH, dtype=dtype)
    keys, values = kv.chunk(2, dim=1)
    launch.norm_and_rotate(q, torch.empty(WIDTH), Rope(half, half), 1e-6)
    launch.norm_and_rotate(keys, torch.empty(WIDTH), Rope(half, half), 1e-6)
    for num_queries in (None, 1):
        blocks = launch.blocks_of(WIDTH, dtype, group=HEADS // GROUPS, num_queries=num_queries)
        launch.attend(q, keys, values, torch.empty(1, 6, dtype=torch.int32), blocks, width=WIDTH)


def main() -> None:
    names = [name for name in vars(triton_kernels) if name.endswith("_kernel")]
    originals = {name: getattr(triton_kernels, name) for name in names}
    for architecture in ARCHITECTURES:
        for name, kernel in originals.items():
            setattr(triton_kernels, name, Compiler(name, kernel, architecture))
        launch_everything(torch.bfloat16)
        if architecture >= FP8_ARCHITECTURE:
            launch.quantize(torch.empty(2, INNER, dtype=torch.bfloat16))


if __name__ == "__main__":
    main()
