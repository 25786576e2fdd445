"""Lesson 19, MAM: a short prefix in the attention and a scaled adapter beside the MLP.

Letters: b batch, t tokens, d the model's width, m the adapter's width, n the length of the prefix, e a head's width,
d_kv the width of all keys of a layer.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import torch
from torch import Tensor


def parallel_adapter(u: Tensor, n: Tensor, mlp: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor, s: float) -> Tensor:
    """The second half of a block, with a scaled adapter beside its MLP:  u + MLP(norm(u)) + s (U relu(D u + c) + b).

    u (b, t, d) is the residual stream after the attention has joined it, n (b, t, d) is norm(u), and mlp (b, t, d) is
    MLP(norm(u)), computed already.  D (m, d), c (m,), U (d, m), b (d,)  ->  (b, t, d), the stream after the block

    Three tensors are offered, and the adapter reads one of them.
    """
    # BEGIN SOLUTION
    branch = (u @ D.T + c).relu() @ U.T + b
    return u + mlp + s * branch
    # END SOLUTION


def first_step(h: Tensor, g: Tensor, s: float, lr: float) -> tuple[Tensor, Tensor]:
    """What a scaled branch says after the first step of training: with Adam, and with plain gradient descent.

    The branch says s U h, and U (d, m) starts at zero.  There is one token: h (m,) is what the relu lets through, and
    g (d,) is the gradient of the loss with respect to what the branch says.

    Plain gradient descent subtracts lr times the gradient of U from U.  Adam divides by the gradient's usual length:
    its first step moves each number of U by lr, against the sign of its gradient (0 if that is 0).

    Returned is s U h after a step of Adam, and s U h after a step of gradient descent; (d,) each.  h stays as it is.
    """
    # BEGIN SOLUTION
    gradient = s * g[:, None] * h  # of U: (d, m)
    adam, descent = -lr * gradient.sign(), -lr * gradient
    return s * adam @ h, s * descent @ h
    # END SOLUTION


def prefix_beside(a: Tensor, share: Tensor, q: Tensor, P_k: Tensor, P_v: Tensor) -> Tensor:
    """Attention with a prefix, from the attention without it:  (1 - share) a + share * softmax(q P_k^T / sqrt(e)) P_v.

    One head: a (t, e) is what the attention gives without a prefix, share (t,) how much of each token's attention goes
    to the prefix, q (t, e), P_k and P_v (n, e)  ->  (t, e)

    This is an adapter: P_k is its first matrix, P_v its second, a softmax stands between them, and the share is a gate.
    """
    # BEGIN SOLUTION
    weights = (q @ P_k.T / q.shape[1] ** 0.5).softmax(1)
    return (1 - share[:, None]) * a + share[:, None] * (weights @ P_v)
    # END SOLUTION


def mam_counts(layers: int, d: int, d_kv: int, n: int, m: int, h: int) -> tuple[int, int]:
    """How many numbers train, and how many are kept when training is over.

    Each layer has an adapter with D (m, d), c (m,), U (d, m), b (d,), and a prefix of n keys and n values, d_kv wide.
    While training, a network writes the prefixes of all layers, and they are no parameters themselves.  It has n
    inputs, each d wide and learned; one Linear from d to h, for all layers; and for each layer a Linear from h to the
    2 d_kv numbers of a key and a value.  Both kinds of Linear have a bias.  After training the network is dropped, and
    what it wrote is kept.
    """
    # BEGIN SOLUTION
    adapter = m * d + m + d * m + d
    network = n * d + (d * h + h) + layers * (h * 2 * d_kv + 2 * d_kv)
    return network + layers * adapter, layers * (2 * n * d_kv + adapter)
    # END SOLUTION


def attention_with_prefix(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor) -> Tensor:
    """A mistake to find: one head of causal attention with a prefix.

    q, k and v (t, e), P_k and P_v (n, e)  ->  (t, e)

    The code below runs, gives the right shape, and the prefix even learns with it.  Find what is wrong and put it
    right.  (Which keys should token 0 see, and which does it see here?)
    """
    # BEGIN SOLUTION
    (t, e), n = q.shape, len(P_k)
    keys, values = torch.cat([P_k, k]), torch.cat([P_v, v])
    see = torch.ones(t, n + t, dtype=torch.bool).tril(n)  # all n learned keys, and then its own text
    scores = (q @ keys.T / e**0.5).masked_fill(~see, -torch.inf)
    # GIVEN
    # (t, e), n = q.shape, len(P_k)
    # keys, values = torch.cat([P_k, k]), torch.cat([P_v, v])     # (n + t, e) each
    # see = torch.ones(t, n + t, dtype=torch.bool).tril()         # True where a token may look
    # scores = (q @ keys.T / e**0.5).masked_fill(~see, -torch.inf)
    # END SOLUTION
    return scores.softmax(1) @ values
