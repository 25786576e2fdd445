# Write here, save, and check: `minipeft check`, or check() in the lesson.  (mini_gpt, version a6ce798b)
"""Lesson 01, the mini GPT: the parts of a transformer that are easy to get wrong.

Letters: b batch, t tokens, s tokens seen (cached ones included), d width, f hidden width of the MLP, e width of a head,
v vocabulary, L layers.
"""

import math

import torch
from torch import Tensor


# 01.1 Causal attention · medium · 15 minutes · 6 points
def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of one head:  softmax(q k^T / sqrt(e), what may be seen) v.

    q, k, v (b, t, e)  ->  (b, t, e)

    Token i sees the tokens 0 ... i, itself included, and none that comes later.  Each result is an average of values:
    the weights of what token i sees are positive and add up to 1.  Write it with matrix products and a softmax.
    """
    raise NotImplementedError("exercise 01.1")


# 01.2 RMSNorm · easy · 5 minutes · 3 points
def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """RMSNorm, LLaMA's norm:  x / sqrt(mean(x^2) + eps) * gain, the mean over the d numbers of one token.

    x (b, t, d), gain (d,)  ->  (b, t, d)
    """
    raise NotImplementedError("exercise 01.2")


# 01.3 Rotary positions · medium · 15 minutes · 5 points
def rotate(x: Tensor, start: int, base: float) -> Tensor:
    """Rotary positions: turn pairs of numbers of each token by angles that grow with its position.

    x (b, t, e), queries or keys of one head  ->  (b, t, e)

    Token n of x stands at position m = start + n, and n counts from 0.  Pair i, for i = 0 ... e/2 - 1, are the numbers
    x[i] and x[i + e/2] of a token.  It turns by the angle a = m * base^(-2 i / e), in radians, counter-clockwise:

        (left, right)  ->  (left cos a - right sin a,  left sin a + right cos a)
    """
    raise NotImplementedError("exercise 01.3")


# 01.4 A step with a cache · medium · 15 minutes · 5 points
def attention_with_past(
    q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of t new tokens after p earlier ones, whose keys and values a cache has kept.

    q, k, v (b, t, e) are of the new tokens, past_k, past_v (b, p, e) of the earlier ones.
    Returned are the result (b, t, e) and the keys and values to keep for the next call, (b, p + t, e) each.

    The past comes first.  Every new token sees all of it, and of the new tokens itself and those before it.
    """
    raise NotImplementedError("exercise 01.4")


# 01.5 How many numbers a GPT has · medium · 15 minutes · 3 points
def parameter_count(style: str, v: int, context: int, layers: int, d: int, f: int, d_kv: int) -> int:
    """How many numbers a GPT has: embeddings, blocks, the last norm, and the head where it is one of its own.

    style "gpt2":  learned positions, one vector for each of `context`; each norm has a gain and a bias; every Linear of
                   a block has a bias; the MLP has two Linears; the head is the token embedding, used once more.
    style "llama": no positions to learn; each norm has a gain alone; no biases; the MLP has three Linears; the head
                   is a matrix of its own, without bias.

    d is the width, f the hidden width of the MLP.  Queries and the attention's output are d wide, keys and values d_kv.
    """
    raise NotImplementedError("exercise 01.5")


# 01.6 Predict: the work a cache saves · easy · 5 minutes · 3 points
def tokens_computed(p: int, n: int) -> tuple[int, int]:
    """Predict: a prompt has p tokens, and n more are generated, one at a time.  How many go through the blocks?

    A token that goes through twice counts twice.  Returned are two numbers: without a cache, where each step computes
    the whole text so far again, and with one, where each step computes what it has not computed before.
    The n-th new token is what we wanted: nothing is computed after it.
    """
    raise NotImplementedError("exercise 01.6")
