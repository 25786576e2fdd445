"""Wrong answers to lesson 24's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import math

from minipeft.course.exercise import wrong


@wrong("gpt2_qkv", "the code as it was given: reshape cuts the file's rows, but queries, keys and values are columns")
def qkv_as_given(weight, bias):
    d = len(weight)
    return *weight.reshape(3, d, d), *bias.chunk(3)


@wrong("gpt2_qkv", "the right columns, but not transposed: the file computes x weight, nn.Linear computes x W^T")
def qkv_not_transposed(weight, bias):
    return *weight.chunk(3, dim=1), *bias.chunk(3)


@wrong("gpt2_qkv", "transposed after the wrong cut: first find the columns, then transpose")
def qkv_cut_then_transposed(weight, bias):
    d = len(weight)
    return *(w.T for w in weight.reshape(3, d, d)), *bias.chunk(3)


@wrong("gpt2_qkv", "the columns lie in three runs, one after the other, not interleaved")
def qkv_interleaved(weight, bias):
    return *(weight[:, i::3].T for i in range(3)), *bias.chunk(3)


@wrong("gpt2_qkv", "the order is queries, keys, values")
def qkv_order(weight, bias):
    q, k, v = weight.T.chunk(3)
    b_q, b_k, b_v = bias.chunk(3)
    return k, q, v, b_k, b_q, b_v


def count(vocab, layers, d, heads, kv_heads, e, f, tied, q=2, kv=2, mlp=3, norms=2, last=1, once=False):
    layer = q * heads * e * d + kv * kv_heads * e * d + mlp * d * f + norms * d
    return vocab * d * (1 if tied or once else 2) + layers * layer + last * d


@wrong("llama_numbers", "LLaMA's MLP has three matrices: gate, up and down")
def numbers_two_matrices(*shape):
    return count(*shape, mlp=2)


@wrong("llama_numbers", "keys and values have kv_heads heads, fewer than the queries")
def numbers_all_heads(vocab, layers, d, heads, kv_heads, e, f, tied):
    return count(vocab, layers, d, heads, heads, e, f, tied)


@wrong("llama_numbers", "the head is missing: where it isn't tied, it is a matrix of its own")
def numbers_no_head(*shape):
    return count(*shape, once=True)


@wrong("llama_numbers", "the gains of the norms in the layers are missing")
def numbers_no_norms(*shape):
    return count(*shape, norms=0)


@wrong("llama_numbers", "the last norm is missing")
def numbers_no_last_norm(*shape):
    return count(*shape, last=0)


@wrong("llama_numbers", "heads times e need not be d: W_q is (heads e, d)")
def numbers_square(vocab, layers, d, heads, kv_heads, e, f, tied):
    return count(vocab, layers, d, 1, kv_heads, d, f, tied, kv=0) + layers * 2 * kv_heads * e * d


@wrong("llama_numbers", "W_o is missing: attention has four matrices")
def numbers_no_output(*shape):
    return count(*shape, q=1)


@wrong("cache_bytes", "keys alone: the values are kept as well")
def cache_keys(layers, kv_heads, e, tokens, texts, size):
    return layers * kv_heads * e * tokens * texts * size


@wrong("cache_bytes", "one layer: each keeps its own keys and values")
def cache_one_layer(layers, kv_heads, e, tokens, texts, size):
    return 2 * kv_heads * e * tokens * texts * size


@wrong("cache_bytes", "one text: there are several at once, and none can use another's")
def cache_one_text(layers, kv_heads, e, tokens, texts, size):
    return layers * 2 * kv_heads * e * tokens * size


@wrong("cache_bytes", "that is how many numbers; each has `size` bytes")
def cache_numbers(layers, kv_heads, e, tokens, texts, size):
    return layers * 2 * kv_heads * e * tokens * texts


@wrong("cache_bytes", "queries aren't kept: no later token asks for them")
def cache_with_queries(layers, kv_heads, e, tokens, texts, size):
    return layers * 3 * kv_heads * e * tokens * texts * size


@wrong("step_operations", "a multiplication and an addition: 2 operations for each weight and token")
def operations_once(numbers, tokens, base_trains, recompute):
    return numbers * tokens * (2 + base_trains + recompute)


@wrong("step_operations", "a frozen base has no gradient of its weights: that product is saved")
def operations_frozen_too(numbers, tokens, base_trains, recompute):
    return 2 * numbers * tokens * (3 + recompute)


@wrong("step_operations", "with a frozen base the gradient must still pass through it: the gradient of its input stays")
def operations_not_through(numbers, tokens, base_trains, recompute):
    return 2 * numbers * tokens * (1 + 2 * base_trains + recompute)


@wrong("step_operations", "recomputation runs the forward pass a second time")
def operations_no_recompute(numbers, tokens, base_trains, recompute):
    return 2 * numbers * tokens * (2 + base_trains)


@wrong("step_operations", "recomputation repeats the forward pass alone, not the whole step")
def operations_twice(numbers, tokens, base_trains, recompute):
    return 2 * numbers * tokens * (2 + base_trains) * (1 + recompute)


@wrong("gap", "the gap depends on the power of two below x, not on x itself")
def gap_relative(x, bits):
    return abs(x) / 2**bits


@wrong("gap", "that is the gap at 1: it grows with the size of x")
def gap_at_one(x, bits):
    return 2.0**-bits


@wrong("gap", "the power of two is the one above |x|; take the one below: floor")
def gap_above(x, bits):
    return 2.0 ** (math.ceil(math.log2(abs(x))) - bits)


@wrong("gap", "that is half the gap, where rounding turns over")
def gap_half(x, bits):
    return 2.0 ** (math.floor(math.log2(abs(x))) - bits - 1)


@wrong("gap", "2^bits steps, not 2^(bits - 1): the bits do not count the leading 1")
def gap_with_leading(x, bits):
    return 2.0 ** (math.floor(math.log2(abs(x))) - bits + 1)


@wrong("master_step", "the master copy was rounded: it keeps what bf16 would lose, in fp32")
def master_rounded(master, update):
    weights = (master - update).bfloat16()
    return weights, weights.float()


@wrong("master_step", "the step was taken from the rounded weights: take it from the master copy")
def master_from_rounded(master, update):
    new = master.bfloat16().float() - update
    return new.bfloat16(), new


@wrong("master_step", "the step was computed in bf16: there the small ones are lost")
def master_in_bf16(master, update):
    weights = master.bfloat16() - update.bfloat16()
    return weights, master - update


@wrong("master_step", "the update was added: it is taken off")
def master_added(master, update):
    return (master + update).bfloat16(), master + update


@wrong("master_step", "the model's weights are still in fp32: round them to bf16")
def master_not_rounded(master, update):
    return master - update, master - update


@wrong("master_step", "the two are exchanged: first the weights in bf16, then the master copy")
def master_exchanged(master, update):
    return master - update, (master - update).bfloat16()
