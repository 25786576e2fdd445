"""Lesson 12, FAR: of the MLPs, train the nodes that move most.

Letters: d_in, d_out the two sides of a weight W (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to
x W^T + bias (..., d_out).  A node is one of the d_out outputs: a row of W, and its number of the bias.
k learners, the nodes that train; the other d_out - k nodes are frozen.
"""

import torch
from torch import Tensor


def far_select(W: Tensor, W0: Tensor, share: float) -> Tensor:
    """Which nodes train: the `share` of all that has moved most while everything was trained for a moment.

    W0 (d_out, d_in) is the weight before, W (d_out, d_in) after.  A node's movement is the sum of the absolute
    differences of its row.  How many: share * d_out, rounded to the nearest, but at least one.  Return their numbers in
    ascending order: (k,), integers.
    """
    # BEGIN SOLUTION
    moved = (W - W0).abs().sum(1)
    k = max(1, round(share * len(W)))
    return moved.topk(k).indices.sort().values
    # END SOLUTION


def far_linear(x: Tensor, W_t: Tensor, b_t: Tensor, W_f: Tensor, b_f: Tensor, rows: Tensor) -> Tensor:
    """The layer as two Linears, one of learners and one of frozen nodes, whose outputs are put back in order.

    x (b, t, d_in), W_t (k, d_in), b_t (k,) train, W_f (d_out - k, d_in), b_f (d_out - k,) are frozen.  rows (k,) says
    which outputs the learners are, in ascending order: the result's [..., rows[j]] is learner j.  The frozen nodes take
    the other places, in their order.  ->  (b, t, d_out)
    """
    # BEGIN SOLUTION
    y = torch.cat([x @ W_t.T + b_t, x @ W_f.T + b_f], -1)
    learns = torch.zeros(y.shape[-1], dtype=torch.bool)
    learns[rows] = True
    order = torch.cat([learns.nonzero()[:, 0], (~learns).nonzero()[:, 0]])  # which place each of y's outputs has
    return y[..., order.argsort()]
    # END SOLUTION


def far_step(W: Tensor, G: Tensor, rows: Tensor, lr: float, decay: float) -> Tensor:
    """A mistake to find: one step of SGD with weight decay, after which the frozen nodes are as they were.

    W (d_out, d_in) the weight, G (d_out, d_in) its gradient, rows (k,) the learners.  Weight decay adds decay * W to
    the gradient of what trains.  Returned is the weight after the step (d_out, d_in).  The code below runs, moves the
    learners as it should, and a loss falls with it.  Find what is wrong and put it right.
    """
    # BEGIN SOLUTION
    mask = torch.zeros(len(W), 1)
    mask[rows] = 1
    new = W - lr * mask * (G + decay * W)
    # GIVEN
    # mask = torch.zeros(len(W), 1)
    # mask[rows] = 1                      # (d_out, 1): 1 for a learner
    # new = W - lr * (mask * G + decay * W)
    # END SOLUTION
    return new


def far_count(total: int, layers: int, d: int, f: int, share: float) -> int:
    """How many numbers train with FAR, of a GPT in GPT-2's style with `total` numbers.

    Each of its layers has an MLP of two Linears with biases, up: d -> f and down: f -> d.  Of each of them a `share` of
    the nodes trains, rounded to the nearest and at least one.  All that isn't an MLP trains as a whole.
    """
    # BEGIN SOLUTION
    mlp = f * (d + 1) + d * (f + 1)
    learners = max(1, round(share * f)) * (d + 1) + max(1, round(share * d)) * (f + 1)
    return total + layers * (learners - mlp)
    # END SOLUTION


def far_rank(d_out: int, d_in: int, k: int, rewind: bool) -> int:
    """Predict: how large can the rank of W's whole change be, at the end of training minus the pre-trained weight?

    W is (d_out, d_in), an MLP's; k of its nodes are learners.  First all of W was trained for a moment, then the
    learners alone.  With `rewind`, the frozen nodes were given their pre-trained values back in between.
    """
    # BEGIN SOLUTION
    return min(k, d_in) if rewind else min(d_out, d_in)
    # END SOLUTION
