"""How fast the embedder is, and how near to what the machine's matrix units can give (the roofline).

    python -m bench.embed                     the default embedder in bf16 and f32, with the roofline
    python -m bench.embed --sweep             tokens of a batch against speed

Chunks are real text of this repository (bench/peers/corpus.py). Roofline: the best rate of a plain OpenVINO MatMul in
the same precision, measured between the embedding runs, because on a shared machine both move together. The model's
work is counted analytically: matrix products of the layers and of attention, over real tokens only. `cpu` figures are
per second of processor time and so hardly depend on what else runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.common import table, write_json
from bench.peers.corpus import real_chunks
from openbook.models.fetch import ensure
from openbook.retrieve import embed
from openbook.retrieve.embed import OpenVINOEmbedder, batched

Precision = Literal["bf16", "f32"]
SHAPES = ((4096, 4096, 4096), (8192, 384, 1536), (8192, 1536, 384))
"""(rows, inner, columns) of the roofline's products: a large one and MiniLM's own."""
MINILM = {"layers": 6, "hidden": 384, "inner": 1536}


@dataclass(frozen=True, slots=True)
class Took:
    wall: float
    cpu: float


def took(function: Callable[[], object]) -> Took:
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    function()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def work(lengths: list[int]) -> float:
    """Floating point operations of MiniLM over texts of these lengths, special tokens included."""
    layers, hidden, inner = MINILM["layers"], MINILM["hidden"], MINILM["inner"]
    dense = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(sum(layers * (dense * n + 4 * n * n * hidden) for n in lengths))


def products(precision: Precision) -> list[tuple[Callable[[], object], float]]:
    """The roofline's products as (run once on all cores, operations)."""
    import openvino as ov
    from openvino import opset13 as ops

    made: list[tuple[Callable[[], object], float]] = []
    for rows, inner, columns in SHAPES:
        left = ops.parameter([rows, inner], np.float32)
        weight = np.random.default_rng(0).standard_normal((columns, inner), dtype=np.float32)
        model = ov.Model([ops.matmul(left, ops.constant(weight), False, True)], [left], "product")
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()
        data = np.random.default_rng(1).standard_normal((rows, inner), dtype=np.float32)
        request.infer([data])
        made.append(
            (lambda request=request, data=data: request.infer([data], share_inputs=True), 2.0 * rows * inner * columns)
        )
    return made


def measure(name: str, precision: Precision, chunks: list[str], rounds: int) -> dict[str, Any]:
    """One model in one precision, rounds of roofline and embedding alternating."""
    embedder = OpenVINOEmbedder(ensure(name), precision=precision)
    lengths = [min(count + 2, embedder.max_tokens) for count in embedder.count(chunks)]
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batched(lengths))
    operations, roof = work(lengths), products(precision)
    embedder.embed(chunks[:64], kind="document")
    wall, cpu, peak_wall, peak_cpu = [], [], [], []
    for _ in range(rounds):
        rates = [(each / one.wall, each / one.cpu) for run, each in roof for one in (took(run), took(run))]
        peak_wall.append(max(rate for rate, _ in rates))
        peak_cpu.append(max(rate for _, rate in rates))
        one = took(lambda: embedder.embed(chunks, kind="document"))
        wall.append(one.wall)
        cpu.append(one.cpu)
    seconds, processor = statistics.median(wall), statistics.median(cpu)
    return {
        "model": name,
        "precision": precision,
        "chunks": len(chunks),
        "tokens": sum(lengths),
        "padded": round(padded / sum(lengths) - 1, 4),
        "seconds": seconds,
        "fastest_seconds": min(wall),
        "chunks_per_second": len(chunks) / seconds,
        "chunks_per_cpu_second": len(chunks) / processor,
        "gflops": operations / seconds / 1e9,
        "roofline_gflops": statistics.median(peak_wall) / 1e9,
        "share": statistics.median(operations / w / p for w, p in zip(wall, peak_wall, strict=True)),
        "share_cpu": statistics.median(operations / c / p for c, p in zip(cpu, peak_cpu, strict=True)),
    }


def sweep(name: str, chunks: list[str]) -> list[dict[str, Any]]:
    """Speed by tokens of a batch; each budget twice, the better counts."""
    embedder = OpenVINOEmbedder(ensure(name))
    found = []
    for budget in (256, 512, 1024, 2048, 4096, 8192):
        embed.BATCH_TOKENS = budget
        batched.__kwdefaults__["budget"] = budget
        runs = [took(lambda: embedder.embed(chunks, kind="document")) for _ in range(2)]
        best = min(run.cpu for run in runs)
        found.append({"batch_tokens": budget, "seconds": min(run.wall for run in runs), "cpu_seconds": best})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="a catalogue name; may be repeated")
    parser.add_argument("--precision", action="append", choices=["bf16", "f32"])
    parser.add_argument("--chunks", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chunks = real_chunks(options.chunks)
    models = options.model or ["all-minilm-l6-v2"]
    if options.sweep:
        rows = sweep(models[0], chunks)
        shown = [(row["batch_tokens"], row["seconds"], row["cpu_seconds"]) for row in rows]
        text = table(("batch tokens", "seconds", "cpu seconds"), shown)
    else:
        precisions = options.precision or ["bf16", "f32"]
        rows = [measure(model, kind, chunks, options.rounds) for model in models for kind in precisions]
        columns = (
            "chunks_per_second",
            "chunks_per_cpu_second",
            "padded",
            "gflops",
            "roofline_gflops",
            "share",
            "share_cpu",
        )
        text = table(
            ("model, precision", *(column.replace("_", " ") for column in columns)),
            [(f"{row['model']} {row['precision']}", *(row[column] for column in columns)) for row in rows],
        )
    path = write_json("embed-sweep" if options.sweep else "embed", rows)
    print(json.dumps(rows) if options.json else f"{text}\n\n{path}")


if __name__ == "__main__":
    main()
