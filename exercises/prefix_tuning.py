# Write here, save, and check: `minipeft check`, or check() in the lesson.  (prefix_tuning, version 57d479c7)
"""Lesson 06, Prefix-Tuning: learned keys and values before the text's own, in every layer.

Letters: b batch, t tokens of the text, n slots of the prefix, h heads, e width of a head, d width of the model,
m hidden width of the network that writes the prefix.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


# 06.1 Attention behind a prefix · medium · 15 minutes · 5 points
def prefix_attention(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor) -> Tensor:
    """Causal self-attention behind a prefix:  softmax(q [P_k; k]^T / sqrt(e)) [P_v; v].

    q, k, v (b, h, t, e), P_k, P_v (h, n, e)  ->  (b, h, t, e)

    Among themselves the tokens are causal: token i sees the tokens 0 to i.  The prefix came before them all, so every
    token sees all n slots.  All b texts share the one prefix, which has no queries of its own.
    """
    raise NotImplementedError("exercise 06.1")


# 06.2 The prefix's share · easy · 10 minutes · 4 points
def prefix_share(q: Tensor, k: Tensor, P_k: Tensor) -> Tensor:
    """How much of each token's attention falls on the prefix: a number between 0 and 1.

    q, k (b, h, t, e), P_k (h, n, e)  ->  (b, h, t)

    In the softmax of `prefix_attention`, it is the sum of the weights of the n slots.  What attention returns is then
    (1 - share) times what the text alone would give, and share times what the prefix alone would give.
    """
    raise NotImplementedError("exercise 06.2")


# 06.3 Find the mistake: the network that writes · medium · 10 minutes · 4 points
def prefix_written(p: Tensor, A: Tensor, a: Tensor, W: Tensor, bias: Tensor, h: int) -> tuple[Tensor, Tensor]:
    """A mistake to find: the network that writes one layer's prefix while it trains.

    W tanh(A p + a) + bias for each of the n slots:  p (n, d), A (m, d), a (m,), W (2 h e, m), bias (2 h e,).  The
    first h e of the numbers it writes for a slot are the keys of that slot, head by head; the others are the values.

    Returned are P_k and P_v, (h, n, e) each.  The code below runs, gives the right shapes, and would even train.
    Find what is wrong and put it right.
    """
    written = torch.tanh(p @ A.T + a) @ W.T + bias  # (n, 2 h e): a slot in each row
    keys, values = written.chunk(2, dim=1)  # (n, h e) each
    P_k, P_v = keys.reshape(h, len(p), -1), values.reshape(h, len(p), -1)
    return P_k, P_v


# 06.4 Trained and stored · easy · 10 minutes · 3 points
def prefix_counts(layers: int, d: int, d_kv: int, n: int, m: int) -> tuple[int, int]:
    """How many numbers train while the network writes the prefix, and how many are stored once it is dropped.

    The network: one p (n, d), one A (m, d) and one a (m,) for the whole model; and for each layer its own W (2 d_kv, m)
    and bias (2 d_kv,).  A key and a value have d_kv = h e numbers each, fewer than d where heads share them (LLaMA).
    """
    raise NotImplementedError("exercise 06.4")
