# Write here, save, and check: `minipeft check`, or check() in the lesson.  (adapters, version c19bbb77)
"""Lesson 03, adapters: a small two-layer network after a frozen part.

Letters: b batch, t tokens, d width, m the adapter's size, d_in what a frozen Linear reads, n tokens.
Weights are stored as in nn.Linear: D (m, d) reads, U (d, m) writes, and x W^T + bias is a Linear.
gelu is torch.nn.functional.gelu, with its default.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


# 03.1 The adapter · easy · 10 minutes · 5 points
def adapter(h: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> Tensor:
    """The adapter:  h + U gelu(D h + c) + b.

    h (b, t, d), D (m, d), c (m,), U (d, m), b (d,)  ->  (b, t, d)
    """
    raise NotImplementedError("exercise 03.1")


# 03.2 Where it joins the stream · medium · 10 minutes · 3 points
def adapter_joins(x: Tensor, s: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor, placement: str) -> Tensor:
    """The residual stream (b, t, d) after a sub-layer with an adapter, A(h) = h + U gelu(D h + c) + b.

    x (b, t, d) is the stream before the sub-layer, s (b, t, d) what the sub-layer made of norm(x).
    D (m, d), c (m,), U (d, m), b (d,).

    placement  "houlsby":   the adapter changes the sub-layer's result, before it joins the stream
               "pfeiffer":  it changes the stream, after the sub-layer's result has joined it
    """

    raise NotImplementedError("exercise 03.2")


# 03.3 How many numbers train · easy · 5 minutes · 3 points
def adapter_count(layers: int, d: int, m: int, norms: bool) -> int:
    """How many numbers train with Houlsby's adapters of size m in a GPT of GPT-2's style and width d.

    Two adapters a block, each with its own D, c, U and b.  If `norms`, the model's LayerNorms train too: two a block
    and one before the head, each with a gain and a bias for every one of its d numbers.
    """
    raise NotImplementedError("exercise 03.3")


# 03.4 Predict: who moves first · medium · 10 minutes · 2 points
def adapter_moves(D_is_zero: bool, U_is_zero: bool) -> tuple[bool, bool, bool, bool]:
    """Predict: which of D, c, U, b have a gradient that is not zero in the very first step?  In this order.

    The biases c and b start at zero.  D starts at zero or random, and so does U, as the arguments say.
    The gradient that arrives at the adapter's result is not zero.  Remember that gelu(0) = 0, but gelu'(0) = 1/2.
    """
    raise NotImplementedError("exercise 03.4")


# 03.5 Find the mistake: folded, if it were linear · medium · 10 minutes · 3 points
def adapter_folded(W: Tensor, bias: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A mistake to find: an adapter *without* its nonlinearity, folded into the Linear in front of it.

    For every x, the Linear that is returned should do what these two do one after the other:

        h = x W^T + bias        W (d, d_in), bias (d,)
        y = h + U (D h + c) + b     D (m, d), c (m,), U (d, m), b (d,)

    Returned are its weight (d, d_in) and its bias (d,).  The code below has the weight right.
    """
    M = torch.eye(len(D.T)) + U @ D     # (d, d): y = M h + ...
    weight = M @ W
    new_bias = bias + U @ c + b
    return weight, new_bias
