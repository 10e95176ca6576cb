"""A converted graph and the GGUF it came from in; the graph with exact zero points out.

A Q4_1 block holds a scale d and a minimum m: weights are q * d + m. OpenVINO GenAI's GGUF reader keeps the integer zero
point round(-m / d) in u4; -m / d is rarely whole, so every block is off by up to half a step (measured for
SmolLM2-135M: negative log-likelihood 3.15 instead of 2.92; docs/decisions/0023). Here -m / d takes its place in f16;
the weights stay in 4 bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.models.gguf import Header, Tensor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Blocks = npt.NDArray[np.float16]

_Q4_1, _WEIGHTS, _BYTES = 3, 32, 20


def restore(graph: Path, gguf: Path, header: Header) -> int:
    """Put exact zero points into the graph file; returns how many weights got them (0 without Q4_1 tensors).

    Weights are found by their scales. All or none: a graph in which one Q4_1 weight is not found stays as it was.
    """
    import openvino
    from openvino import opset13

    known = _known(gguf, header)
    if not known:
        return 0
    model = openvino.Core().read_model(graph)
    found = [
        (node, known[key])
        for node in model.get_ordered_ops()
        if (scale := _scale(node)) is not None and (key := scale.tobytes()) in known
    ]
    if len(found) < sum(tensor.kind == _Q4_1 for tensor in header.tensors):
        return 0
    for node, zero in found:
        node.input(1).replace_source_output(opset13.constant(zero[:, :, None]).output(0))
    draft = graph.with_name(f"exact_{graph.name}")
    openvino.save_model(model, draft, compress_to_fp16=False)
    del model
    draft.with_suffix(".bin").replace(graph.with_suffix(".bin"))
    draft.replace(graph)
    return len(found)


def _known(gguf: Path, header: Header) -> dict[bytes, Blocks]:
    """Exact zero points of each Q4_1 tensor by its scales, in file order and as the reader reorders rotary weights."""
    import numpy as np

    known: dict[bytes, Blocks] = {}
    for tensor in header.tensors:
        if tensor.kind == _Q4_1:
            scales, minima = _blocks(gguf, tensor)
            with np.errstate(divide="ignore", invalid="ignore"):
                zero = np.where(scales != 0, -minima.astype(np.float32) / scales.astype(np.float32), 0)
            exact = zero.astype(np.float16)
            for rows in (slice(None), _rotary(tensor, header)):
                if rows is not None:
                    known[np.ascontiguousarray(scales[rows]).tobytes()] = np.ascontiguousarray(exact[rows])
    return known


def _blocks(gguf: Path, tensor: Tensor) -> tuple[Blocks, Blocks]:
    """Scales and minima, each float16 [rows, blocks in a row]."""
    import numpy as np

    columns, rows = tensor.shape[0], int(np.prod(tensor.shape[1:], dtype=np.int64))
    shape = (rows, columns // _WEIGHTS, _BYTES)
    raw = np.memmap(gguf, np.uint8, "r", offset=tensor.start, shape=shape)
    head = np.ascontiguousarray(raw[:, :, :4]).view(np.float16)
    return head[:, :, 0], head[:, :, 1]


def _rotary(tensor: Tensor, header: Header) -> npt.NDArray[np.int64] | None:
    """The reader's order of query and key rows, which llama GGUFs hold in pairs."""
    import numpy as np

    key = {"attn_q.weight": "head_count", "attn_k.weight": "head_count_kv"}.get(".".join(tensor.name.split(".")[-2:]))
    heads = header.number(f"{header.text('general.architecture')}.attention.{key}") if key else None
    rows = tensor.shape[-1]
    if not heads or rows % (2 * heads):
        return None
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(rows)


def _scale(node: Any) -> Blocks | None:
    """The scales of a 4-bit weight `(Convert(u4) - Convert(u4 zero point)) * scale`, given its Subtract; else None."""
    import numpy as np

    if node.get_type_name() != "Subtract" or node.input(1).get_source_output().get_node().get_type_name() != "Convert":
        return None
    zero = node.input(1).get_source_output().get_node().input(0).get_source_output().get_node()
    users = [target.get_node() for target in node.output(0).get_target_inputs()]
    if zero.get_type_name() != "Constant" or zero.get_element_type().to_string() != "u4" or not users:
        return None
    scale = users[0].input(1).get_source_output().get_node()
    if users[0].get_type_name() != "Multiply" or scale.get_type_name() != "Constant":
        return None
    return np.ascontiguousarray(scale.get_data()[:, :, 0].astype(np.float16))
