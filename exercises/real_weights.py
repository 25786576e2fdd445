# Write here, save, and check: `minipeft check`, or check() in the lesson.  (real_weights, version e41bd684)
"""Lesson 24, real weights: what the files of GPT-2 and LLaMA hold, what they take, and how their numbers round.

Letters: d the model's width, f the width of the MLP's hidden layer, e the width of a head.
"""

import math

from torch import Tensor


# 24.1 Find the mistake: GPT-2's queries, keys and values · medium · 10 minutes · 5 points
def gpt2_qkv(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A mistake to find: queries, keys and values out of GPT-2's file, where the three are one tensor.

    weight (d, 3 d), bias (3 d,): `attn.c_attn` as it stands in the file.  transformers computes x weight + bias
    with it, and cuts the result, 3 d numbers for each token, into queries, keys and values, in this order.

    Returned are W_q, W_k, W_v, (d, d) each, and b_q, b_k, b_v, (d,) each, to be used as nn.Linear does: x W_q^T + b_q.
    The code below runs, gives the right shapes, and the model loads without an error.  Find what is wrong.
    """
    W_q, W_k, W_v = weight.reshape(3, len(weight), len(weight))
    b_q, b_k, b_v = bias.chunk(3)
    return W_q, W_k, W_v, b_q, b_k, b_v


# 24.2 How many numbers has a LLaMA? · easy · 10 minutes · 4 points
def llama_numbers(vocab: int, layers: int, d: int, heads: int, kv_heads: int, e: int, f: int, tied: bool) -> int:
    """How many numbers a LLaMA has.

    Token embedding (vocab, d).  In each layer: W_q (heads e, d); W_k and W_v (kv_heads e, d); W_o (d, heads e); gate
    and up (f, d); down (d, f); and two norms, d gains each.  At the end a norm, d gains, and the head (vocab, d), which
    is the token embedding once more if the two are tied.  There are no biases and no numbers for positions.
    """
    raise NotImplementedError("exercise 24.2")


# 24.3 The cache of a text · easy · 5 minutes · 4 points
def cache_bytes(layers: int, kv_heads: int, e: int, tokens: int, texts: int, size: int) -> int:
    """How many bytes of keys and values a model keeps while it writes.

    In every layer it keeps the key and the value of each token so far, e numbers for each of the kv_heads heads, in
    `size` bytes a number.  `texts` texts are written at once, each of `tokens` tokens so far.
    """
    raise NotImplementedError("exercise 24.3")


# 24.4 Predict: the products of a step · easy · 5 minutes · 4 points
def step_operations(numbers: int, tokens: int, base_trains: bool, recompute: bool) -> int:
    """Predict: how many operations the products of a training step take, of all Linears together.

    The Linears have `numbers` weights in all, and `tokens` tokens go through them.  A weight and a token meet once in
    each product: one multiplication and one addition, 2 operations.  The products: the output in the forward pass; the
    gradient of the Linear's input; the gradient of its weight, unless the base is frozen.  With `recompute` the forward
    pass is run a second time.  What a method adds is so small that it doesn't count here.
    """
    raise NotImplementedError("exercise 24.4")


# 24.5 Predict: the gap to the next number · medium · 10 minutes · 4 points
def gap(x: float, bits: int) -> float:
    """How far it is from |x| up to the next number, in a format with `bits` bits after the leading 1: 7 in bf16.

    From each power of two up to the next, the numbers of such a format stand in equal distances, 2^bits steps from
    one power to the other.  x is not zero, and of a size at which the format has its full precision.
    """
    raise NotImplementedError("exercise 24.5")


# 24.6 The master copy · medium · 10 minutes · 4 points
def master_step(master: Tensor, update: Tensor) -> tuple[Tensor, Tensor]:
    """One step of training with weights in bf16 and a master copy in fp32.

    master (n,) in fp32: the weights as they should be.  update (n,) in fp32: what the optimizer takes off them.
    Returned are the model's new weights in bf16 and the new master copy in fp32.  Leave the arguments as they are.
    """
    raise NotImplementedError("exercise 24.6")
