"""Lesson 10, BitFit: the biases train, the weights do not.

Letters: b batch, t tokens, e a head's width, d the model's width, d_kv the width of all keys, f the MLP's.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T + bias (..., d_out).
"""

import math

import torch  # noqa: F401  you may want it
from torch import Tensor


def bitfit_backward(G: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """The backward pass of a Linear, y = x W^T + bias, whose W is frozen and whose bias trains.

    G (b, t, d_out) is the loss's gradient with respect to y, W is (d_out, d_in).  Returned are the gradient of the bias
    (d_out,) and that of the input x (b, t, d_in), in this order.

    Note what is not among the arguments: x.
    """
    # BEGIN SOLUTION
    return G.sum((0, 1)), G @ W
    # END SOLUTION


def bitfit_key_shift(q: Tensor, b: Tensor) -> Tensor:
    """What the keys' bias does to attention, before the softmax.

    The score of query i and key j is  q_i . (k_j + b) / sqrt(e),  with q (t, e) and the keys' bias b (e,).  Return how
    much b adds to it.  That is the same for every key j, so one number for each query is enough: (t,).
    """
    # BEGIN SOLUTION
    return q @ b / math.sqrt(q.shape[1])
    # END SOLUTION


def bitfit_fold(
    u: Tensor, w: Tensor, W_q: Tensor, b_q: Tensor, W_v: Tensor, W_o: Tensor, b_o: Tensor
) -> tuple[Tensor, Tensor]:
    """Training has moved the bias of norm1 by u (d,) and the bias of the values by w (d,).  Say it in other biases.

    All W are (d, d), and one norm1 feeds queries and values.  Return new biases b_q (d,) and b_o (d,), in this order,
    with which the block computes the same although norm1 and the values keep their old biases.

    A token's attention weights sum to one.  Of the keys nothing has to be said: you know why.
    """
    # BEGIN SOLUTION
    return b_q + W_q @ u, b_o + W_o @ (W_v @ u + w)
    # END SOLUTION


def bitfit_count(layers: int, d: int, d_kv: int, f: int) -> int:
    """How many numbers train with BitFit in a GPT of GPT-2's style.

    In each layer: two norms and the outputs of attention and MLP, all of width d; queries of width d; keys and values
    of width d_kv each; an MLP whose hidden layer is f wide.  After the last layer comes one more norm.
    """
    # BEGIN SOLUTION
    return layers * (5 * d + 2 * d_kv + f) + d
    # END SOLUTION


def bitfit_names(names: list[str]) -> list[str]:
    """A mistake to find: which of a model's parameters are biases, by their names, in the order given.

    A parameter's name is the path to it, with dots: in "trunk.0.attn.q.bias" the part is trunk.0.attn.q, and the
    parameter itself is called bias.  That is what makes it a bias.  The code below is the survey's.  Find names with
    which it goes wrong (the lesson shows one), and put it right for all of them.
    """
    # BEGIN SOLUTION
    found = [n for n in names if n.split(".")[-1] == "bias"]
    # GIVEN
    # found = [n for n in names if "bias" in n]
    # END SOLUTION
    return found
