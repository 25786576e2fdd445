"""Lesson 01, the mini GPT: the parts of a transformer that are easy to get wrong.

Letters: b batch, t tokens, s tokens seen (cached ones included), d width, f hidden width of the MLP, e width of a head,
v vocabulary, L layers.
"""

import math

import torch
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of one head:  softmax(q k^T / sqrt(e), what may be seen) v.

    q, k, v (b, t, e)  ->  (b, t, e)

    Token i sees the tokens 0 ... i, itself included, and none that comes later.  Each result is an average of values:
    the weights of what token i sees are positive and add up to 1.  Write it with matrix products and a softmax.
    """
    # BEGIN SOLUTION
    t, e = q.shape[-2:]
    scores = q @ k.transpose(-1, -2) / math.sqrt(e)  # (b, t, t): one row a query, one column a key
    later = torch.ones(t, t, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(-1) @ v
    # END SOLUTION


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """RMSNorm, LLaMA's norm:  x / sqrt(mean(x^2) + eps) * gain, the mean over the d numbers of one token.

    x (b, t, d), gain (d,)  ->  (b, t, d)
    """
    # BEGIN SOLUTION
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain
    # END SOLUTION


def rotate(x: Tensor, start: int, base: float) -> Tensor:
    """Rotary positions: turn pairs of numbers of each token by angles that grow with its position.

    x (b, t, e), queries or keys of one head  ->  (b, t, e)

    Token n of x stands at position m = start + n, and n counts from 0.  Pair i, for i = 0 ... e/2 - 1, are the numbers
    x[i] and x[i + e/2] of a token.  It turns by the angle a = m * base^(-2 i / e), in radians, counter-clockwise:

        (left, right)  ->  (left cos a - right sin a,  left sin a + right cos a)
    """
    # BEGIN SOLUTION
    t, e = x.shape[-2:]
    speed = base ** (-torch.arange(0, e, 2) / e)  # (e/2,) radians per token: the first pair turns fastest
    angle = torch.arange(start, start + t)[:, None] * speed  # (t, e/2)
    left, right = x.chunk(2, -1)
    return torch.cat([left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos()], -1)
    # END SOLUTION


def attention_with_past(
    q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of t new tokens after p earlier ones, whose keys and values a cache has kept.

    q, k, v (b, t, e) are of the new tokens, past_k, past_v (b, p, e) of the earlier ones.
    Returned are the result (b, t, e) and the keys and values to keep for the next call, (b, p + t, e) each.

    The past comes first.  Every new token sees all of it, and of the new tokens itself and those before it.
    """
    # BEGIN SOLUTION
    k, v = torch.cat([past_k, k], 1), torch.cat([past_v, v], 1)
    t, s = q.shape[1], k.shape[1]
    later = torch.ones(t, s, dtype=torch.bool).triu(s - t + 1)  # the last query sees all s keys
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (b, t, s)
    return scores.masked_fill(later, -math.inf).softmax(-1) @ v, k, v
    # END SOLUTION


def parameter_count(style: str, v: int, context: int, layers: int, d: int, f: int, d_kv: int) -> int:
    """How many numbers a GPT has: embeddings, blocks, the last norm, and the head where it is one of its own.

    style "gpt2":  learned positions, one vector for each of `context`; each norm has a gain and a bias; every Linear of
                   a block has a bias; the MLP has two Linears; the head is the token embedding, used once more.
    style "llama": no positions to learn; each norm has a gain alone; no biases; the MLP has three Linears; the head
                   is a matrix of its own, without bias.

    d is the width, f the hidden width of the MLP.  Queries and the attention's output are d wide, keys and values d_kv.
    """
    # BEGIN SOLUTION
    linears = 2 * d * d + 2 * d * d_kv  # q and o, k and v
    if style == "gpt2":
        biases = 2 * d + 2 * d_kv + f + d  # of q and o, k and v, up, down
        block = linears + 2 * d * f + biases + 2 * 2 * d
        return v * d + context * d + layers * block + 2 * d
    block = linears + 3 * d * f + 2 * d
    return v * d + layers * block + d + v * d
    # END SOLUTION


def tokens_computed(p: int, n: int) -> tuple[int, int]:
    """Predict: a prompt has p tokens, and n more are generated, one at a time.  How many go through the blocks?

    A token that goes through twice counts twice.  Returned are two numbers: without a cache, where each step computes
    the whole text so far again, and with one, where each step computes what it has not computed before.
    The n-th new token is what we wanted: nothing is computed after it.
    """
    # BEGIN SOLUTION
    return n * p + n * (n - 1) // 2, p + n - 1
    # END SOLUTION
