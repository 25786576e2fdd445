"""Lesson 20, UniPELT: a prefix, LoRA and adapters, each behind a gate.

Letters: b batch, t tokens, d the model's width, d_kv the width of all keys of a layer, r LoRA's rank, n the length of
the prefix, m the adapter's width, e a head's width.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import torch
from torch import Tensor


def gated_lora(x: Tensor, W: Tensor, A: Tensor, B: Tensor, w: Tensor, c: float) -> Tensor:
    """A Linear with gated LoRA beside it:  W x + g(x) B A x,  with g(x) = sigmoid(w x + c), one number for each token.

    x (b, t, d_in), W (d_out, d_in), A (r, d_in), B (d_out, r), w (d_in,)  ->  (b, t, d_out)

    There is no alpha / r: the gate has taken its place.
    """
    # BEGIN SOLUTION
    g = (x @ w + c).sigmoid()[..., None]  # (b, t, 1)
    return x @ W.T + g * (x @ A.T @ B.T)
    # END SOLUTION


def causal_gate(x: Tensor, w: Tensor, c: float) -> Tensor:
    """A mistake to find: the paper's gate, made fit for a model that must not look ahead.

    The paper's gate is one number for a whole text, the mean of sigmoid(w x + c) over its tokens.  Here token i's gate
    should be the mean over the tokens 0 to i: at the last token it is the paper's.

    x (b, t, d), w (d,)  ->  (b, t, 1)

    The code below gives the right shape, and the right number at the last token of each text.  Find what is wrong and
    put it right.  (What happens to token 0's gate if you change the last token?)
    """
    # BEGIN SOLUTION
    g = (x @ w + c).sigmoid()
    mean = g.cumsum(1) / torch.arange(1, x.shape[1] + 1)
    # GIVEN
    # g = (x @ w + c).sigmoid()                     # (b, t)
    # mean = g.mean(1, keepdim=True).expand_as(g)
    # END SOLUTION
    return mean[..., None]


def gated_prefix(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor, g: Tensor) -> Tensor:
    """Attention with a gated prefix, for one head: token i attends to  [g_i P_k; k]  and  [g_i P_v; v].

    q, k and v (t, e), P_k and P_v (n, e), g (t,)  ->  (t, e)

    Causal: token i sees the n learned keys, and of the text the keys 0 to i.  Scores are divided by sqrt(e), and one
    softmax goes over all that a token sees.  The gate is that of the token that looks, so each token sees a prefix of
    its own; but n t different keys need not be formed.
    """
    # BEGIN SOLUTION
    t, e = q.shape
    see = torch.ones(t, t, dtype=torch.bool).tril()
    learned = g[:, None] * (q @ P_k.T) / e**0.5  # q (g P_k) = g (q P_k)
    own = (q @ k.T / e**0.5).masked_fill(~see, -torch.inf)
    weights = torch.cat([learned, own], 1).softmax(1)
    return g[:, None] * (weights[:, : len(P_k)] @ P_v) + weights[:, len(P_k) :] @ v
    # END SOLUTION


def shut_prefix(scores: Tensor, n: int) -> float:
    """Predict: a prefix's gate is shut, g = 0.  The attention gives f times what it gives without a prefix.  What is f?

    `scores` (t,) are one token's scores for the t tokens of text that it sees, divided by sqrt(e) already.  All n
    learned keys and values are multiplied by zero.  Without a prefix the token gets softmax(scores) v.

    Returned is a number between 0 and 1.
    """
    # BEGIN SOLUTION
    text = scores.exp().sum()
    return float(text / (text + n))  # a zero key has the score 0, and exp(0) = 1
    # END SOLUTION


def unipelt_counts(layers: int, d: int, d_kv: int, n: int, r: int, m: int) -> tuple[int, int]:
    """How many numbers are kept when training is over, and how many of them are gates.

    In each layer: n learned keys and n learned values, d_kv wide; LoRA of rank r beside the queries' weight (d, d) and
    the values' weight (d_kv, d); an adapter with D (m, d), c (m,), U (d, m), b (d,).  Four gates: the prefix has one,
    each of the two LoRAs has one, the adapter has one.  A gate has a vector w (d,) and a number c.
    """
    # BEGIN SOLUTION
    prefix, adapter = 2 * n * d_kv, 2 * d * m + m + d
    lora = r * (d + d) + r * (d + d_kv)
    gates = 4 * (d + 1)
    return layers * (prefix + lora + adapter + gates), layers * gates
    # END SOLUTION
