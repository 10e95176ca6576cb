"""The converted default model holds the weights its GGUF holds."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from openbook.models.fetch import ensure
from openbook.models.gguf import Tensor, read_header


@pytest.mark.model
def test_every_4_bit_weight_of_the_graph_is_the_ggufs() -> None:
    import openvino

    files = ensure("smollm2-135m-instruct")
    assert files.original is not None
    tensors = [tensor for tensor in read_header(files.original).tensors if tensor.kind == 3]
    graph = openvino.Core().read_model(files.model)
    converted = [weight for weight in map(weights, graph.get_ordered_ops()) if weight is not None]
    assert len(tensors) == len(converted) == 210
    for tensor in tensors[::7]:
        expected = dequantized(files.original, tensor)
        assert any(weight.shape == expected.shape and same_rows(weight, expected) for weight in converted), tensor.name


def same_rows(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    """Equal but for the order of rows and zero points rounded to f16 (rounded to integers, sums differ by about 1)."""
    first, second = (np.sort(part.sum(axis=1)) for part in (one, other))
    return bool(np.allclose(first, second, atol=0.1))


def dequantized(path: Path, tensor: Tensor) -> npt.NDArray[np.float32]:
    """Q4_1 as ggml defines it: w = d * q + m, low nibbles first."""
    columns, rows = tensor.shape
    raw = np.memmap(path, np.uint8, "r", offset=tensor.start, shape=(rows, columns // 32, 20))
    scale, least = (np.ascontiguousarray(raw[:, :, part]).view(np.float16) for part in (slice(0, 2), slice(2, 4)))
    quants = np.concatenate([raw[:, :, 4:] & 15, raw[:, :, 4:] >> 4], axis=2).astype(np.float32)
    return (scale.astype(np.float32) * quants + least.astype(np.float32)).reshape(rows, columns)


def weights(node: Any) -> npt.NDArray[np.float32] | None:
    """(q - z) * s of a 4-bit weight, given its Multiply."""
    import openvino
    from openvino.helpers import unpack_data

    if node.get_type_name() != "Multiply":
        return None
    shifted, scale = (node.input(n).get_source_output().get_node() for n in (0, 1))
    if shifted.get_type_name() != "Subtract" or scale.get_type_name() != "Constant":
        return None
    stored = shifted.input(0).get_source_output().get_node().input(0).get_source_output().get_node()
    if stored.get_element_type() != openvino.Type.u4:
        return None
    zero = shifted.input(1).get_source_output().get_node()
    assert zero.get_type_name() == "Constant", "a rounded zero point is left"
    quants = unpack_data(stored.data, openvino.Type.u4, list(stored.shape)).astype(np.float32)
    value = (quants - zero.data.astype(np.float32)) * scale.data.astype(np.float32)
    return np.asarray(value.reshape(value.shape[0], -1), np.float32)
