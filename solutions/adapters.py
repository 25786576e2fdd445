"""Lesson 03, adapters: a small two-layer network after a frozen part.

Letters: b batch, t tokens, d width, m the adapter's size, d_in what a frozen Linear reads, n tokens.
Weights are stored as in nn.Linear: D (m, d) reads, U (d, m) writes, and x W^T + bias is a Linear.
gelu is torch.nn.functional.gelu, with its default.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def adapter(h: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> Tensor:
    """The adapter:  h + U gelu(D h + c) + b.

    h (b, t, d), D (m, d), c (m,), U (d, m), b (d,)  ->  (b, t, d)
    """
    # BEGIN SOLUTION
    return h + F.gelu(h @ D.T + c) @ U.T + b
    # END SOLUTION


def adapter_joins(x: Tensor, s: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor, placement: str) -> Tensor:
    """The residual stream (b, t, d) after a sub-layer with an adapter, A(h) = h + U gelu(D h + c) + b.

    x (b, t, d) is the stream before the sub-layer, s (b, t, d) what the sub-layer made of norm(x).
    D (m, d), c (m,), U (d, m), b (d,).

    placement  "houlsby":   the adapter changes the sub-layer's result, before it joins the stream
               "pfeiffer":  it changes the stream, after the sub-layer's result has joined it
    """

    # BEGIN SOLUTION
    def adapted(h: Tensor) -> Tensor:
        return h + F.gelu(h @ D.T + c) @ U.T + b

    return x + adapted(s) if placement == "houlsby" else adapted(x + s)
    # END SOLUTION


def adapter_count(layers: int, d: int, m: int, norms: bool) -> int:
    """How many numbers train with Houlsby's adapters of size m in a GPT of GPT-2's style and width d.

    Two adapters a block, each with its own D, c, U and b.  If `norms`, the model's LayerNorms train too: two a block
    and one before the head, each with a gain and a bias for every one of its d numbers.
    """
    # BEGIN SOLUTION
    adapters = 2 * layers * (2 * d * m + m + d)
    return adapters + (2 * layers + 1) * 2 * d if norms else adapters
    # END SOLUTION


def adapter_moves(D_is_zero: bool, U_is_zero: bool) -> tuple[bool, bool, bool, bool]:
    """Predict: which of D, c, U, b have a gradient that is not zero in the very first step?  In this order.

    The biases c and b start at zero.  D starts at zero or random, and so does U, as the arguments say.
    The gradient that arrives at the adapter's result is not zero.  Remember that gelu(0) = 0, but gelu'(0) = 1/2.
    """
    # BEGIN SOLUTION
    return not U_is_zero, not U_is_zero, not D_is_zero, True
    # END SOLUTION


def adapter_folded(W: Tensor, bias: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A mistake to find: an adapter *without* its nonlinearity, folded into the Linear in front of it.

    For every x, the Linear that is returned should do what these two do one after the other:

        h = x W^T + bias        W (d, d_in), bias (d,)
        y = h + U (D h + c) + b     D (m, d), c (m,), U (d, m), b (d,)

    Returned are its weight (d, d_in) and its bias (d,).  The code below has the weight right.
    """
    # BEGIN SOLUTION
    M = torch.eye(len(D.T)) + U @ D  # y = M h + U c + b
    weight = M @ W
    new_bias = M @ bias + U @ c + b
    # GIVEN
    # M = torch.eye(len(D.T)) + U @ D     # (d, d): y = M h + ...
    # weight = M @ W
    # new_bias = bias + U @ c + b
    # END SOLUTION
    return weight, new_bias
