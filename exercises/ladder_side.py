# Write here, save, and check: `minipeft check`, or check() in the lesson.  (ladder_side, version 0ac825c1)
"""Lesson 08, Ladder-Side Tuning: a thin network beside the frozen one, which reads it and never sends a gradient in.

Letters: b batch, t tokens, d the backbone's width, e the side's width, l how many rungs the ladder has.
Weights are stored as in nn.Linear: D (e, d) reads the backbone, and x D^T + bias is a Linear.
"""

import torch
from torch import Tensor


# 08.1 The rung · easy · 10 minutes · 4 points
def ladder_fuse(s: Tensor, h: Tensor, D: Tensor, bias: Tensor, alpha: Tensor, temperature: float) -> Tensor:
    """What goes into a side block:  g s + (1 - g) (D h + bias),  g = sigmoid(alpha / temperature).

    s (b, t, e) is the side's own state, h (b, t, d) the backbone's stream after the block beside it.
    D (e, d), bias (e,), alpha () one number  ->  (b, t, e)
    """
    raise NotImplementedError("exercise 08.1")


def side_block(s: Tensor, M: Tensor) -> Tensor:
    """What stands for a side block in 08.2: (b, t, e), (e, e) -> (b, t, e).  Given."""
    return s + torch.tanh(s @ M.T)


# 08.2 Find the mistakes: the whole ladder · medium · 15 minutes · 4 points
def ladder_side(
    states: Tensor, D_0: Tensor, d_0: Tensor, D: Tensor, d: Tensor, alpha: Tensor, M: Tensor, U: Tensor, u: Tensor
) -> Tensor:
    """Four mistakes to find: the whole ladder, from the backbone's states to what the head reads.

        s = D_0 h_0 + d_0
        s <- side_block(g_i s + (1 - g_i) (D_i h_i + d_i), M_i)     g_i = sigmoid(alpha_i / 0.1), for i = 1, ..., l
        y = U s + u

    h_0 is the embedding and h_i the stream after block i: states[0], states[1], ..., states[l].
    But the ladder's parts are counted from zero: D_1 is D[0], and so on.  (Norms are left out here.)

    states (l + 1, b, t, d), D_0 (e, d), d_0 (e,), D (l, e, d), d (l, e), alpha (l,), M (l, e, e), U (d, e), u (d,)
    ->  (b, t, d)
    """
    s = states[0] @ D_0.T + d_0
    for i in range(len(D)):
        g = torch.sigmoid(alpha[i])
        s = side_block(g * s + (1 - g) * (states[i] @ D[0].T + d[0]), M[i])
    y = s
    return y


# 08.3 How many numbers train · medium · 10 minutes · 3 points
def ladder_count(d: int, f: int, r: int, rungs: int) -> int:
    """How many numbers train with Ladder-Side Tuning beside a GPT of GPT-2's style, width d, hidden width f?

    The side has `rungs` blocks of width e = d / r and hidden width f / r.  Such a block has q, k, v and o, (e, e) each,
    up (f / r, e) and down (e, f / r), every one with a bias, and two LayerNorms, each with a gain and a bias.

    Beside the blocks: for each rung a Linear from d to e and one number alpha; one more Linear from d to e for the
    embedding; one LayerNorm of width e behind the last block; one Linear from e to d.  All Linears have biases.
    """
    raise NotImplementedError("exercise 08.3")


# 08.4 Predict: what is kept of the backbone · medium · 10 minutes · 3 points
def ladder_kept(b: int, t: int, d: int, rungs: list[int]) -> int:
    """Predict: how many numbers of the frozen backbone are kept for the backward pass?

    The batch is b texts of t tokens.  The backbone has width d and any number of blocks; `rungs` names the blocks that
    have a rung beside them.  Asked is for numbers that the backbone computes (embedding, streams, queries, gelus, ...)
    and that autograd has to keep until the backward pass, because something that trains will need them.
    What the side network keeps of its own isn't asked for, and neither are weights.
    """
    raise NotImplementedError("exercise 08.4")
