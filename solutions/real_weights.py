"""Lesson 24, real weights: what the files of GPT-2 and LLaMA hold, what they take, and how their numbers round.

Letters: d the model's width, f the width of the MLP's hidden layer, e the width of a head.
"""

import math

from torch import Tensor


def gpt2_qkv(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A mistake to find: queries, keys and values out of GPT-2's file, where the three are one tensor.

    weight (d, 3 d), bias (3 d,): `attn.c_attn` as it stands in the file.  transformers computes x weight + bias
    with it, and cuts the result, 3 d numbers for each token, into queries, keys and values, in this order.

    Returned are W_q, W_k, W_v, (d, d) each, and b_q, b_k, b_v, (d,) each, to be used as nn.Linear does: x W_q^T + b_q.
    The code below runs, gives the right shapes, and the model loads without an error.  Find what is wrong.
    """
    # BEGIN SOLUTION
    W_q, W_k, W_v = weight.T.chunk(3)
    # GIVEN
    # W_q, W_k, W_v = weight.reshape(3, len(weight), len(weight))
    # END SOLUTION
    b_q, b_k, b_v = bias.chunk(3)
    return W_q, W_k, W_v, b_q, b_k, b_v


def llama_numbers(vocab: int, layers: int, d: int, heads: int, kv_heads: int, e: int, f: int, tied: bool) -> int:
    """How many numbers a LLaMA has.

    Token embedding (vocab, d).  In each layer: W_q (heads e, d); W_k and W_v (kv_heads e, d); W_o (d, heads e); gate
    and up (f, d); down (d, f); and two norms, d gains each.  At the end a norm, d gains, and the head (vocab, d), which
    is the token embedding once more if the two are tied.  There are no biases and no numbers for positions.
    """
    # BEGIN SOLUTION
    attention = 2 * heads * e * d + 2 * kv_heads * e * d
    layer = attention + 3 * d * f + 2 * d
    return vocab * d * (1 if tied else 2) + layers * layer + d
    # END SOLUTION


def cache_bytes(layers: int, kv_heads: int, e: int, tokens: int, texts: int, size: int) -> int:
    """How many bytes of keys and values a model keeps while it writes.

    In every layer it keeps the key and the value of each token so far, e numbers for each of the kv_heads heads, in
    `size` bytes a number.  `texts` texts are written at once, each of `tokens` tokens so far.
    """
    # BEGIN SOLUTION
    return layers * 2 * kv_heads * e * tokens * texts * size
    # END SOLUTION


def step_operations(numbers: int, tokens: int, base_trains: bool, recompute: bool) -> int:
    """Predict: how many operations the products of a training step take, of all Linears together.

    The Linears have `numbers` weights in all, and `tokens` tokens go through them.  A weight and a token meet once in
    each product: one multiplication and one addition, 2 operations.  The products: the output in the forward pass; the
    gradient of the Linear's input; the gradient of its weight, unless the base is frozen.  With `recompute` the forward
    pass is run a second time.  What a method adds is so small that it doesn't count here.
    """
    # BEGIN SOLUTION
    products = 2 + base_trains + recompute
    return 2 * numbers * tokens * products
    # END SOLUTION


def gap(x: float, bits: int) -> float:
    """How far it is from |x| up to the next number, in a format with `bits` bits after the leading 1: 7 in bf16.

    From each power of two up to the next, the numbers of such a format stand in equal distances, 2^bits steps from
    one power to the other.  x is not zero, and of a size at which the format has its full precision.
    """
    # BEGIN SOLUTION
    power = 2.0 ** math.floor(math.log2(abs(x)))
    return power / 2**bits
    # END SOLUTION


def master_step(master: Tensor, update: Tensor) -> tuple[Tensor, Tensor]:
    """One step of training with weights in bf16 and a master copy in fp32.

    master (n,) in fp32: the weights as they should be.  update (n,) in fp32: what the optimizer takes off them.
    Returned are the model's new weights in bf16 and the new master copy in fp32.  Leave the arguments as they are.
    """
    # BEGIN SOLUTION
    master = master - update
    return master.bfloat16(), master
    # END SOLUTION
