"""Operators of attention that ONNX Runtime's optimizer writes, and those around them.

Their meaning is that of ONNX Runtime's contrib operators (docs/ContribOperators.md of its
repository): masks are added to the scores, so that a key that is left out keeps a weight of about
exp(-10000), which is 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import sqrt

import numpy as np
import onnx_ir as ir

from edgeconv.export.capture.written_node import Write, Writer
from edgeconv.export.graph_edit import known_array

_AS_BEFORE = "save the file without optimization"
_UNSEEN = -1e30
"""What is added to the score of a later key: its weight is 0, and no sum of two overflows."""
_HEADS_LAST = [0, 2, 1, 3]
"""The axes of [batch, heads, tokens, depth] in [batch, tokens, heads, depth], and the reverse."""


def _shaped(w: Writer, x: ir.Value, shape: Sequence[int]) -> ir.Value:
    """``x`` in another shape, in which 0 keeps a size of ``x``."""
    return w.op.Reshape(x, w.constant(np.array(shape, np.int64)))


def _part(w: Writer, x: ir.Value, start: int, stop: int, axis: int, step: int = 1) -> ir.Value:
    bounds = [np.array([each], np.int64) for each in (start, stop, axis, step)]
    return w.op.Slice(x, *map(w.constant, bounds))


def _heads(w: Writer, x: ir.Value, count: int) -> ir.Value:
    """[batch, tokens, heads * depth] as [batch, heads, tokens, depth]."""
    return w.op.Transpose(_shaped(w, x, [0, 0, count, -1]), perm=_HEADS_LAST)


def _refuse_state(w: Writer, past: Sequence[int], flags: Sequence[str] = ()) -> None:
    if any(w.has(index) for index in past):
        raise w.refused("it reads keys and values of earlier tokens", "export without a cache")
    for name in flags:
        if w.flag(name):
            raise w.refused(f"{name} is set", _AS_BEFORE)


def _attended(
    w: Writer,
    tokens: tuple[ir.Value, ir.Value, ir.Value],
    depth: int,
    added: Sequence[ir.Value],
) -> ir.Value:
    """softmax(q k' scale + added) v as [batch, tokens, heads * depth].

    Args:
        w: The node.
        tokens: Queries, keys and values as [batch, heads, tokens, depth].
        depth: Of each query.
        added: What broadcasts to [batch, heads, queries, keys].
    """
    q, k, v = tokens
    scale = w.number("scale", 0.0) or 1 / sqrt(depth)
    scores = w.op.MatMul(q, w.op.Transpose(k, perm=[0, 1, 3, 2]))
    scores = w.op.Mul(scores, w.constant(scale))
    if (cap := w.number("softcap", 0.0)) > 0:
        bounded = w.op.Tanh(w.op.Mul(scores, w.constant(1 / cap)))
        scores = w.op.Mul(bounded, w.constant(cap))
    for each in added:
        scores = w.op.Add(scores, each)
    mixed = w.op.MatMul(w.op.Softmax(scores, axis=-1), v)
    return _shaped(w, w.op.Transpose(mixed, perm=_HEADS_LAST), [0, 0, -1])


def _earlier(w: Writer, count: int, window: int = -1) -> ir.Value:
    """What lets each of so many tokens see itself and those before it, ``window`` in all."""
    unseen = np.full((count, count), _UNSEEN, np.float32)
    hidden = np.triu(unseen, 1)
    if window > 0:
        hidden += np.tril(unseen, -window)
    return w.constant(hidden)


def _masked(w: Writer, index: int, batch: int, sizes: tuple[int, int]) -> list[ir.Value]:
    """What a mask of integers adds to the scores.

    It is 0 for keys to leave out, and [batch, keys] or [batch, queries, keys], or it has the number
    of keys that count in each row of the batch.
    """
    mask = w.optional(index)
    if mask is None:
        return []
    queries, keys = sizes
    rank = w.rank(mask)
    if rank == 1 and w.size(mask, 0) == batch:
        places = w.constant(np.arange(keys, dtype=np.int32))
        seen = _shaped(w, w.op.Less(places, _shaped(w, mask, [-1, 1])), [batch, 1, 1, keys])
    elif rank in (2, 3):
        rows = 1 if rank == 2 else queries
        seen = w.op.Cast(_shaped(w, mask, [batch, 1, rows, keys]), to=int(ir.DataType.BOOL))
    else:
        raise w.refused(f"its mask has {rank} dimensions", _AS_BEFORE)
    filled = w.constant(w.number("mask_filter_value", -10000.0))
    return [w.op.Where(seen, w.constant(0.0), filled)]


def _attention(w: Writer) -> Sequence[ir.Value]:
    """Of tokens and the weights that make queries, keys and values of them."""
    _refuse_state(w, (4, 6), ("do_rotary", "past_present_share_buffer"))
    if w.is_used(1):
        raise w.refused("its keys and values are read", _AS_BEFORE)
    x, weights, heads = w.input(0), w.input(1), w.node.attributes.get_int("num_heads", 1)
    widths = w.node.attributes.get_ints("qkv_hidden_sizes", [w.size(weights, 1) // 3] * 3)
    batch, count = w.size(x, 0), w.size(x, 1)
    product = w.op.MatMul(x, weights)
    if w.has(2):
        product = w.op.Add(product, w.input(2))
    ends = np.cumsum([0, *widths])
    q, k, v = (
        _heads(w, _part(w, product, int(start), int(stop), 2), heads)
        for start, stop in itertools.pairwise(ends)
    )
    added = _masked(w, 3, batch, (count, count))
    added += [w.input(5)] if w.has(5) else []
    added += [_earlier(w, count)] if w.flag("unidirectional") else []
    return [_attended(w, (q, k, v), widths[0] // heads, added)]


def _unpacked(w: Writer, x: ir.Value, place: int) -> ir.Value:
    """One of what is packed as [batch, tokens, heads, packed, depth], with heads first."""
    one = _shaped(w, _part(w, x, place, place + 1, 3), [0, 0, 0, -1])
    return w.op.Transpose(one, perm=_HEADS_LAST)


def _multi_head_attention(w: Writer) -> Sequence[ir.Value]:
    """Of queries, keys and values, apart or packed."""
    _refuse_state(w, (6, 7, 8, 9))
    if w.is_used(3):
        raise w.refused("its scores are read", _AS_BEFORE)
    heads = w.node.attributes.get_int("num_heads", 1)
    x, key = w.input(0), w.optional(1)
    batch, queries = w.size(x, 0), w.size(x, 1)
    depth = w.size(x, -1) // (1 if w.rank(x) == 5 else heads)
    if key is None:
        q, k, v = (_unpacked(w, x, place) for place in range(3))
    else:
        first = w.op.Add(x, _part(w, w.input(3), 0, heads * depth, 0)) if w.has(3) else x
        q = _heads(w, first, heads)
        k, v = _keys_and_values(w, key, heads, heads * depth)
    if w.has(3) and (key is None or w.rank(key) != 3):
        raise w.refused("it adds a bias to what is packed", _AS_BEFORE)
    keys = queries if key is None else w.size(key, 2 if w.rank(key) == 4 else 1)
    added = _masked(w, 4, batch, (queries, keys))
    added += [w.input(5)] if w.has(5) else []
    if w.flag("unidirectional"):
        if keys != queries:
            raise w.refused("it sees earlier tokens among others than its own", _AS_BEFORE)
        added.append(_earlier(w, keys))
    return [_attended(w, (q, k, v), depth, added), k, v]


def _keys_and_values(w: Writer, key: ir.Value, heads: int, width: int) -> tuple[ir.Value, ir.Value]:
    if w.rank(key) == 5:
        return _unpacked(w, key, 0), _unpacked(w, key, 1)
    value = w.input(2)
    if w.rank(key) == 4:
        return key, value
    if w.has(3):
        bias = w.input(3)
        key = w.op.Add(key, _part(w, bias, width, 2 * width, 0))
        value = w.op.Add(value, _part(w, bias, 2 * width, 2**31 - 1, 0))
    return _heads(w, key, heads), _heads(w, value, heads)


def _group_query_attention(w: Writer) -> Sequence[ir.Value]:
    """Several queries share keys and values; each token sees those before it."""
    _refuse_state(w, (3, 4, 11, 12, 13, 14, 15), ("smooth_softmax",))
    if w.is_used(3):
        raise w.refused("its scores are read", _AS_BEFORE)
    heads = w.node.attributes.get_int("num_heads", 1)
    shared = w.node.attributes.get_int("kv_num_heads", heads)
    x, count = w.input(0), w.size(w.input(0), 1)
    last = known_array(w.input(5))
    if last is None or np.any(last != count - 1):
        raise w.refused("how many tokens count is computed", "export at a fixed length")
    parts = heads if w.has(1) else heads + 2 * shared
    depth = w.size(x, 2) // parts
    if w.has(1):
        separate = [x, w.input(1), w.input(2)]
    else:
        ends = np.cumsum([0, heads, shared, shared]) * depth
        bounds = itertools.pairwise(ends)
        separate = [_part(w, x, int(start), int(stop), 2) for start, stop in bounds]
    q, k, v = (
        _heads(w, each, number)
        for each, number in zip(separate, (heads, shared, shared), strict=True)
    )
    if w.flag("do_rotary"):
        caches = (w.input(7), w.input(8))
        turns = [_turn(w, cache, _first(w, count)) for cache in caches]
        interleaved = w.flag("rotary_interleaved")
        q, k = (_turned_heads(w, each, turns, interleaved) for each in (q, k))
    window = w.node.attributes.get_int("local_window_size", -1)
    if window == 0:
        raise w.refused("its local_window_size is 0", "set it to -1, or to 1 and more")
    added = [_earlier(w, count, window)] + ([w.input(10)] if w.has(10) else [])
    groups = heads // shared
    every = [_repeated(w, each, groups, shared * groups, count) for each in (k, v)]
    return [_attended(w, (q, every[0], every[1]), depth, added), k, v]


def _repeated(w: Writer, x: ir.Value, groups: int, heads: int, count: int) -> ir.Value:
    """Each head of [batch, heads, tokens, depth] so many times in a row."""
    if groups == 1:
        return x
    apart = w.op.Concat(*[_shaped(w, x, [0, 0, 1, -1])] * groups, axis=2)
    return _shaped(w, apart, [0, heads, count, -1])


def _first(w: Writer, count: int) -> ir.Value:
    return w.constant(np.arange(count, dtype=np.int64)[None])


def _turn(w: Writer, cache: ir.Value, positions: ir.Value) -> ir.Value:
    """The cosines or sines of positions [batch, tokens], as [batch, tokens, 1, half the depth]."""
    return _shaped(w, w.op.Gather(cache, positions, axis=0), [0, 0, 1, -1])


def _turned_heads(w: Writer, x: ir.Value, turns: Sequence[ir.Value], interleaved: bool) -> ir.Value:
    tokens_first = w.op.Transpose(x, perm=_HEADS_LAST)
    half = w.size(w.input(7), 1)
    turned = _turned(w, tokens_first, turns, half, interleaved)
    return w.op.Transpose(turned, perm=_HEADS_LAST)


def _turned(
    w: Writer, x: ir.Value, turns: Sequence[ir.Value], half: int, interleaved: bool
) -> ir.Value:
    """[batch, tokens, heads, depth] with the first 2 * half elements of each head turned."""
    cos, sin = turns
    step = 2 if interleaved else 1
    starts = (0, 1) if interleaved else (0, half)
    stops = (2 * half, 2 * half) if interleaved else (half, 2 * half)
    a, b = (_part(w, x, *each, 3, step) for each in zip(starts, stops, strict=True))
    real = w.op.Sub(w.op.Mul(a, cos), w.op.Mul(b, sin))
    other = w.op.Add(w.op.Mul(b, cos), w.op.Mul(a, sin))
    if interleaved:
        pairs = [_shaped(w, each, [0, 0, 0, -1, 1]) for each in (real, other)]
        turned = [_shaped(w, w.op.Concat(*pairs, axis=4), [0, 0, 0, -1])]
    else:
        turned = [real, other]
    return w.op.Concat(*turned, _part(w, x, 2 * half, 2**31 - 1, 3), axis=3)


def _rotary_embedding(w: Writer) -> Sequence[ir.Value]:
    """Turn pairs of elements by angles of their token's position."""
    if w.flag("is_packed_batching") or w.number("scale", 1.0) != 1:
        raise w.refused("it has packed batches or a scale", _AS_BEFORE)
    x, positions = w.input(0), w.input(1)
    half, rank = w.size(w.input(2), 1), w.rank(w.input(0))
    count = w.size(x, 1 if rank == 3 else 2)
    if w.rank(positions) == 1:  # that of the first token
        positions = w.op.Add(positions, _first(w, count))
    turns = [_turn(w, w.input(index), positions) for index in (2, 3)]
    if rank == 3:
        width = w.size(x, 2)
        heads = w.node.attributes.get_int("num_heads", 0) or width // (2 * half)
        tokens = _shaped(w, x, [0, 0, heads, width // heads])
    else:
        tokens = w.op.Transpose(x, perm=_HEADS_LAST)
    turned = _turned(w, tokens, turns, half, w.flag("interleaved"))
    if rank == 3:
        return [_shaped(w, turned, [0, 0, -1])]
    return [w.op.Transpose(turned, perm=_HEADS_LAST)]


def _embed_layer_norm(w: Writer) -> Sequence[ir.Value]:
    """The sum of the embeddings of words, positions and segments, normalized."""
    ids = w.input(0)
    total = w.op.Gather(w.input(2), ids, axis=0)
    positions = w.optional(8) or _first(w, w.size(ids, 1))
    total = w.op.Add(total, w.op.Gather(w.input(3), positions, axis=0))
    if w.has(1) and w.has(4):
        total = w.op.Add(total, w.op.Gather(w.input(4), w.input(1), axis=0))
    epsilon = w.number("epsilon", 1e-12)
    results = [w.op.LayerNormalization(total, w.input(5), w.input(6), axis=-1, epsilon=epsilon)]
    if w.is_used(1):
        if not w.has(7):
            raise w.refused("its mask is read, and it has none", _AS_BEFORE)
        summed = w.op.ReduceSum(w.input(7), w.constant(np.array([1])), keepdims=0)
        results.append(summed)
    else:
        results.append(total)
    return [*results, total]


def _grid_sample(w: Writer) -> Sequence[ir.Value]:
    return [w.op.GridSample(w.input(0), w.input(1), **w.kept())]


ATTENTION: dict[str, Write] = {
    "Attention": _attention,
    "MultiHeadAttention": _multi_head_attention,
    "GroupQueryAttention": _group_query_attention,
    "RotaryEmbedding": _rotary_embedding,
    "EmbedLayerNormalization": _embed_layer_norm,
    "GridSample": _grid_sample,
}
"""By the name of the operator in the domain com.microsoft."""
