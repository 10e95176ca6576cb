"""The machine's matrix limit: the best rate of a large bfloat16 (and float32) product, printed as JSON.

Run it with the Python of a peer, which has torch: what no embedder on this machine can beat.
"""

from __future__ import annotations

import json
import time

import torch


def rate(dtype: torch.dtype, *, seconds: float = 1.5) -> float:
    """Best GFLOP/s of products of 2048 x 2048 and of MiniLM's own shapes."""
    best = 0.0
    for rows, inner, columns in ((2048, 2048, 2048), (8192, 384, 1536), (8192, 1536, 384)):
        left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            start = time.perf_counter()
            torch.nn.functional.linear(left, right)
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start) / 1e9)
    return best


if __name__ == "__main__":
    print(
        json.dumps(
            {"bfloat16": rate(torch.bfloat16), "float32": rate(torch.float32), "threads": torch.get_num_threads()}
        )
    )
