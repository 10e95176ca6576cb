"""A llama or qwen forward pass for training: packed token ids in, hidden states out; reads the weights where they lie.

On a processor, training is bound by what moves through memory, not by what multiplies. So sequences are packed without
padding, and every step below writes its own backward, keeps only what cannot cheaply be had again and touches each
activation once. It computes what transformers and PEFT compute (tests/equivalence holds it). Knows no loss and no text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

BLOCK = 128
"""Queries whose scores are in memory at once; measured against 256 and 512 in docs/decisions/0067."""


def hidden(
    model: Any,
    ids: Tensor,
    lengths: Sequence[int],
    parents: Sequence[int] = (),
    *,
    adapter: bool = True,
    recompute: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The last hidden states [tokens, width] of parts packed behind one another: ids [tokens] = sum(lengths).

    A part is a sequence of its own, or goes on where an earlier part ended: `parents` holds that one's number, or -1.
    What several parts go on from is computed once, and gets the gradients of all of them.
    `model` is a transformers Llama, Qwen2 or Qwen3ForCausalLM, with PEFT LoRA layers or without. adapter=False leaves
    them out. recompute=True keeps only each layer's input and computes the rest again in backward: less memory, slower.
    `dtype` is that of the activations; None is that of the weights.
    """
    inner = model.model
    parts = _parts(lengths, parents or (-1,) * len(lengths))
    positions = torch.cat([torch.arange(part.before, part.before + part.own, device=ids.device) for part in parts])
    x = functional.embedding(ids, inner.embed_tokens.weight).to(dtype or inner.embed_tokens.weight.dtype)
    cos, sin = inner.rotary_emb(x[None], positions[None])
    half = cos.shape[-1] // 2
    angles = cos[0, :, None, :half], sin[0, :, None, :half]
    for layer in inner.layers:
        if recompute and torch.is_grad_enabled():
            x = checkpoint(_layer, layer, x, angles, parts, adapter, use_reentrant=False)
        else:
            x = _layer(layer, x, angles, parts, adapter)
    return _norm(inner.norm, x)


def linear(module: Any, x: Tensor, *, adapter: bool = True) -> Tensor:
    """x [..., in] through a linear layer or PEFT's LoRA around one."""
    base = getattr(module, "base_layer", module)
    if base is module or not adapter:
        bias = base.bias if base.bias is None else base.bias.to(x.dtype)
        return functional.linear(x, base.weight.to(x.dtype), bias)
    name = module.active_adapters[0]
    a, b, scale = module.lora_A[name].weight, module.lora_B[name].weight, float(module.scaling[name])
    dropout = module.lora_dropout[name]
    if isinstance(dropout, torch.nn.Identity) or not module.training:
        out: Tensor = _LoraLinear.apply(x, base.weight, base.bias, a, b, scale)  # type: ignore[no-untyped-call]
        return out
    low = functional.linear(functional.linear(dropout(x), a.to(x.dtype)), b.to(x.dtype))
    return functional.linear(x, base.weight, base.bias) + low * scale


def _layer(layer: Any, x: Tensor, angles: tuple[Tensor, Tensor], parts: tuple[_Part, ...], adapter: bool) -> Tensor:
    attention, mlp = layer.self_attn, layer.mlp
    h = _norm(layer.input_layernorm, x)
    q, k, v = (
        linear(getattr(attention, name), h, adapter=adapter).view(x.shape[0], -1, attention.head_dim)
        for name in ("q_proj", "k_proj", "v_proj")
    )
    if hasattr(attention, "q_norm"):
        q, k = _norm(attention.q_norm, q), _norm(attention.k_norm, k)
    q, k = (_Rotate.apply(each, *angles) for each in (q, k))  # type: ignore[no-untyped-call]
    mixed = _attend(q, k, v, parts, float(attention.scaling))
    x = x + linear(attention.o_proj, mixed.reshape(x.shape[0], -1), adapter=adapter)
    h = _norm(layer.post_attention_layernorm, x)
    gate, up = linear(mlp.gate_proj, h, adapter=adapter), linear(mlp.up_proj, h, adapter=adapter)
    gated = _Swiglu.apply(gate, up)  # type: ignore[no-untyped-call]
    return x + linear(mlp.down_proj, gated, adapter=adapter)


def _norm(module: Any, x: Tensor) -> Tensor:
    if module.weight.requires_grad:
        return functional.rms_norm(x.float(), x.shape[-1:], module.weight, module.variance_epsilon).to(x.dtype)
    out: Tensor = _RmsNorm.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return out


def _attend(q: Tensor, k: Tensor, v: Tensor, parts: tuple[_Part, ...], scale: float) -> Tensor:
    if q.device.type == "cpu":
        out: Tensor = _Attention.apply(q, k, v, parts, scale)  # type: ignore[no-untyped-call]
        return out
    return _attend_anywhere(q, k, v, parts, scale)


def _attend_anywhere(q: Tensor, k: Tensor, v: Tensor, parts: tuple[_Part, ...], scale: float) -> Tensor:
    """The same by PyTorch's kernels, on any device."""
    found, group = [], q.shape[1] // k.shape[1]
    for part in parts:
        keys, values = (_gathered(each, part.keys).repeat_interleave(group, 0)[None] for each in (k, v))
        query = q[part.start : part.stop].transpose(0, 1)[None]
        seen = (
            None
            if part.before == 0
            else torch.ones(part.own, part.before + part.own, dtype=torch.bool, device=q.device).tril(part.before)
        )
        mixed = functional.scaled_dot_product_attention(query, keys, values, seen, is_causal=seen is None, scale=scale)
        found.append(mixed[0].transpose(0, 1))
    return torch.cat(found)


class _LoraLinear(Function):
    """x W^T + bias + s (x A^T) B^T: W frozen in the activations' type, A and B float32 masters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        low_a, low_b = a.to(x.dtype), (b * scale).to(x.dtype)
        middle = x @ low_a.t()
        ctx.save_for_backward(x, middle, weight, low_a, low_b)
        ctx.scale, ctx.types = scale, (a.dtype, b.dtype)
        return functional.linear(x, weight, bias).addmm_(middle, low_b.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        x, middle, weight, low_a, low_b = ctx.saved_tensors
        inner = grad @ low_b
        grad_a = (inner.t() @ x).to(ctx.types[0])
        grad_b = (grad.t() @ middle).to(ctx.types[1]) * ctx.scale
        grad_x = (grad @ weight).addmm_(inner, low_a) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, grad_a, grad_b, None


class _RmsNorm(Function):
    """x / rms(x) * weight over the last dimension, in float32 inside; the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        inverse = (
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        )
        ctx.save_for_backward(x, weight, inverse)
        return wide.mul_(inverse).to(x.dtype).mul_(weight) if x.dtype != torch.float32 else wide * inverse * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, weight, inverse = ctx.saved_tensors
        scaled = (grad * weight).float()
        unit = x.float() * inverse
        share = (scaled * unit).mean(-1, keepdim=True)
        return scaled.addcmul_(unit, share, value=-1).mul_(inverse).to(x.dtype), None, None


class _Swiglu(Function):
    """silu(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        open_ = torch.sigmoid(gate)
        silu = gate * open_
        # d silu = s + silu (1 - s)
        slope = open_.addcmul_(silu, 1 - open_)
        return slope.mul_(up).mul_(grad), silu.mul_(grad)


class _Rotate(Function):
    """Rotary positions on x [tokens, heads, dim], halves paired; cos and sin [tokens, 1, dim / 2]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, -sin), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    left, right = x[..., :half], x[..., half:]
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    torch.mul(left, cos, out=out[..., :half]).addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=out[..., half:]).addcmul_(left, sin)
    return out


class _Part(NamedTuple):
    """Tokens that are queries together, and where what they see lies."""

    keys: tuple[tuple[int, int], ...]
    """Ranges in their order, the last ending with the part itself."""
    before: int
    """Keys that stand before its first token."""
    own: int
    """Its tokens."""

    @property
    def start(self) -> int:
        """Its first token."""
        return self.stop - self.own

    @property
    def stop(self) -> int:
        """The token after its last."""
        return self.keys[-1][1]


def _parts(lengths: Sequence[int], parents: Sequence[int]) -> tuple[_Part, ...]:
    found: list[_Part] = []
    start = 0
    for length, parent in zip(lengths, parents, strict=True):
        *most, last = found[parent].keys if parent >= 0 else ((start, start),)
        # What lies directly behind its parent continues that range: nothing need be copied then.
        ranges = [*most, (last[0], start + length)] if last[1] == start else [*most, last, (start, start + length)]
        before = found[parent].before + found[parent].own if parent >= 0 else 0
        found.append(_Part(tuple(ranges), before, length))
        start += length
    return tuple(found)


class _Attention(Function):
    """Causal attention of each part to what it goes on from and to itself.

    q [tokens, heads, dim], k and v [tokens, kv heads, dim]. Scores and softmax are float32. Nothing of them is kept:
    backward computes them again, block by block (Dao et al. 2022, arXiv 2205.14135, without its tiling over keys).
    PyTorch's own kernel takes about twice as long on a processor without AMX (docs/decisions/0067).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, parts: tuple[_Part, ...], scale: float) -> Tensor:
        out = torch.empty_like(q)
        for block in _blocks(parts):
            keys, values = _gathered(k, block.keys), _gathered(v, block.keys)
            weights = _weights(q[block.start : block.stop], keys, scale, block.before)
            _put(out, block.start, block.stop, torch.bmm(weights.to(v.dtype), values))
        ctx.save_for_backward(q, k, v, out)
        ctx.parts, ctx.scale = parts, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, out = ctx.saved_tensors
        grad_q = torch.empty_like(q)
        # Several blocks add to the same keys: only then are float32 sums needed.
        alone = all(part.before == 0 and part.own <= BLOCK for part in ctx.parts)
        wide = q.dtype if alone else torch.float32
        grad_k, grad_v = torch.zeros(k.shape, dtype=wide), torch.zeros(v.shape, dtype=wide)
        along = (grad.float() * out.float()).sum(-1, keepdim=True)
        for block in _blocks(ctx.parts):
            mine = slice(block.start, block.stop)
            keys, values = _gathered(k, block.keys), _gathered(v, block.keys)
            queries, given = _grouped(q[mine], k.shape[1]), _grouped(grad[mine], k.shape[1])
            weights = _weights(q[mine], keys, ctx.scale, block.before).to(q.dtype)
            slope = torch.bmm(given, values.transpose(1, 2))
            slope.sub_(_grouped(along[mine], k.shape[1]).to(q.dtype)).mul_(weights).mul_(ctx.scale)
            _put(grad_q, block.start, block.stop, torch.bmm(slope, keys))
            _add(grad_k, block.keys, torch.bmm(slope.transpose(1, 2), queries))
            _add(grad_v, block.keys, torch.bmm(weights.transpose(1, 2), given))
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), None, None


def _blocks(parts: Sequence[_Part]) -> Iterator[_Part]:
    """Parts of at most BLOCK queries."""
    for part in parts:
        *most, (first, _) = part.keys
        for at in range(0, part.own, BLOCK):
            own = min(BLOCK, part.own - at)
            yield _Part((*most, (first, part.start + at + own)), part.before + at, own)


def _weights(q: Tensor, keys: Tensor, scale: float, before: int) -> Tensor:
    """Softmax of a block's scores [kv heads, group * queries, keys]; `before` keys stand before the first query."""
    count = q.shape[0]
    scores = torch.bmm(_grouped(q, keys.shape[0]).float() * scale, keys.float().transpose(1, 2))
    scores.view(keys.shape[0], -1, count, keys.shape[1])[..., before:].masked_fill_(_future(count), float("-inf"))
    return torch.softmax(scores, -1)


def _grouped(x: Tensor, kv_heads: int) -> Tensor:
    """[tokens, heads, dim] -> [kv heads, group * tokens, dim]."""
    tokens, heads, dim = x.shape
    return x.view(tokens, kv_heads, heads // kv_heads, dim).permute(1, 2, 0, 3).reshape(kv_heads, -1, dim)


def _put(out: Tensor, start: int, stop: int, part: Tensor) -> None:
    """Undo _grouped into out[start:stop]."""
    heads, dim = out.shape[1:]
    out[start:stop] = (
        part.view(part.shape[0], heads // part.shape[0], stop - start, dim)
        .permute(2, 0, 1, 3)
        .reshape(stop - start, heads, dim)
    )


def _gathered(x: Tensor, ranges: Sequence[tuple[int, int]]) -> Tensor:
    """[tokens, heads, dim] -> [heads, tokens of the ranges, dim]."""
    pieces = [x[start:stop] for start, stop in ranges]
    return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).transpose(0, 1)


def _add(out: Tensor, ranges: Sequence[tuple[int, int]], part: Tensor) -> None:
    """Undo _gathered, adding to out."""
    at = 0
    for start, stop in ranges:
        out[start:stop] += part[:, at : at + stop - start].transpose(0, 1)
        at += stop - start


@lru_cache(maxsize=2 * BLOCK)
def _future(count: int) -> Tensor:
    return torch.ones(count, count, dtype=torch.bool).triu(1)
