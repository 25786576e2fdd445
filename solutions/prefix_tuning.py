"""Lesson 06, Prefix-Tuning: learned keys and values before the text's own, in every layer.

Letters: b batch, t tokens of the text, n slots of the prefix, h heads, e width of a head, d width of the model,
m hidden width of the network that writes the prefix.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def prefix_attention(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor) -> Tensor:
    """Causal self-attention behind a prefix:  softmax(q [P_k; k]^T / sqrt(e)) [P_v; v].

    q, k, v (b, h, t, e), P_k, P_v (h, n, e)  ->  (b, h, t, e)

    Among themselves the tokens are causal: token i sees the tokens 0 to i.  The prefix came before them all, so every
    token sees all n slots.  All b texts share the one prefix, which has no queries of its own.
    """
    # BEGIN SOLUTION
    b, t, n = q.shape[0], q.shape[2], P_k.shape[1]
    k = torch.cat([P_k.expand(b, -1, -1, -1), k], 2)  # (b, h, n + t, e)
    v = torch.cat([P_v.expand(b, -1, -1, -1), v], 2)
    see = torch.ones(t, n + t, dtype=torch.bool).tril(n)
    return F.scaled_dot_product_attention(q, k, v, see)
    # END SOLUTION


def prefix_share(q: Tensor, k: Tensor, P_k: Tensor) -> Tensor:
    """How much of each token's attention falls on the prefix: a number between 0 and 1.

    q, k (b, h, t, e), P_k (h, n, e)  ->  (b, h, t)

    In the softmax of `prefix_attention`, it is the sum of the weights of the n slots.  What attention returns is then
    (1 - share) times what the text alone would give, and share times what the prefix alone would give.
    """
    # BEGIN SOLUTION
    e = q.shape[-1]
    learned = (q @ P_k.mT / e**0.5).exp().sum(-1)  # (b, h, t)
    text = (q @ k.mT / e**0.5).exp().tril().sum(-1)
    return learned / (learned + text)
    # END SOLUTION


def prefix_written(p: Tensor, A: Tensor, a: Tensor, W: Tensor, bias: Tensor, h: int) -> tuple[Tensor, Tensor]:
    """A mistake to find: the network that writes one layer's prefix while it trains.

    W tanh(A p + a) + bias for each of the n slots:  p (n, d), A (m, d), a (m,), W (2 h e, m), bias (2 h e,).  The
    first h e of the numbers it writes for a slot are the keys of that slot, head by head; the others are the values.

    Returned are P_k and P_v, (h, n, e) each.  The code below runs, gives the right shapes, and would even train.
    Find what is wrong and put it right.
    """
    # BEGIN SOLUTION
    written = torch.tanh(p @ A.T + a) @ W.T + bias  # (n, 2 h e): a slot in each row
    keys, values = written.chunk(2, dim=1)  # (n, h e) each
    P_k, P_v = (x.reshape(len(p), h, -1).transpose(0, 1) for x in (keys, values))
    # GIVEN
    # written = torch.tanh(p @ A.T + a) @ W.T + bias  # (n, 2 h e): a slot in each row
    # keys, values = written.chunk(2, dim=1)  # (n, h e) each
    # P_k, P_v = keys.reshape(h, len(p), -1), values.reshape(h, len(p), -1)
    # END SOLUTION
    return P_k, P_v


def prefix_counts(layers: int, d: int, d_kv: int, n: int, m: int) -> tuple[int, int]:
    """How many numbers train while the network writes the prefix, and how many are stored once it is dropped.

    The network: one p (n, d), one A (m, d) and one a (m,) for the whole model; and for each layer its own W (2 d_kv, m)
    and bias (2 d_kv,).  A key and a value have d_kv = h e numbers each, fewer than d where heads share them (LLaMA).
    """
    # BEGIN SOLUTION
    stored = layers * 2 * n * d_kv
    trained = n * d + (m * d + m) + layers * (2 * d_kv * m + 2 * d_kv)
    return trained, stored
    # END SOLUTION
