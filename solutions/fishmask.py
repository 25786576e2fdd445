"""Lesson 13, FISH Mask: the few numbers of a model that train, chosen by their Fisher information.

Letters: n examples, t tokens, d_in and d_out the two sides of a weight, p numbers in a row, F Fisher information.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import torch
from torch import Tensor


def fish_fisher(x: Tensor, G: Tensor) -> Tensor:
    """The Fisher information of each number of a Linear's weight, from one backward pass over n examples.

        F = mean over examples of (d log p(example) / d W)^2,  number by number

    x (n, t, d_in) is what the Linear has read, G (n, t, d_out) the gradient of the sum of all log p with respect to
    what it has written.  Row i of both belongs to example i alone.  Return F (d_out, d_in).

    W is the same for all t tokens of an example: each of them adds to that example's gradient.
    """
    # BEGIN SOLUTION
    of_each = G.transpose(1, 2) @ x  # (n, d_out, d_in): one gradient for each example
    return of_each.square().mean(0)
    # END SOLUTION


def fish_mask(F1: Tensor, F2: Tensor, F3: Tensor, density: float) -> tuple[Tensor, Tensor, Tensor]:
    """Which numbers train: the k with the most Fisher information, of all three tensors together.

    F1 (a, b), F2 (c, b), F3 (c,): the information of each number of a model that has three tensors.  Return three
    masks of these shapes, of torch.bool, in this order: True for exactly k = int(density * numbers in the model).
    """
    # BEGIN SOLUTION
    tensors = [F1, F2, F3]
    everything = torch.cat([f.flatten() for f in tensors])
    chosen = torch.zeros(len(everything), dtype=torch.bool)
    chosen[everything.topk(int(density * len(everything))).indices] = True
    parts = chosen.split([f.numel() for f in tensors])
    return tuple(part.view(f.shape) for part, f in zip(parts, tensors, strict=True))
    # END SOLUTION


def fish_step(
    theta: Tensor, m: Tensor, g: Tensor, mask: Tensor, lr: float, beta: float, decay: float
) -> tuple[Tensor, Tensor]:
    """A mistake to find: one step of SGD with momentum and weight decay, under a mask.

    theta (p,) are the parameters, g (p,) their gradients, mask (p,) is True where a number trains.  m (p,) is the
    momentum so far; it comes from steps before there was a mask, so it holds something everywhere.  Where the mask is
    True the step is  m <- beta m + g,  theta <- theta - lr (m + decay theta).  Where it is False, theta must stay as
    it is, to the last bit, and m must be 0 afterwards.  Return the new theta and the new m, in this order.

    The code below masks the gradient, as the paper does.  That is not enough here.
    """
    # BEGIN SOLUTION
    m = (beta * m + g) * mask
    theta = theta - lr * (m + decay * theta) * mask
    # GIVEN
    # g = g * mask
    # m = beta * m + g
    # theta = theta - lr * (m + decay * theta)
    # END SOLUTION
    return theta, m


def fish_costs(total: int, density: float) -> tuple[int, int, int]:
    """Three numbers about a model of `total` parameters of which FISH Mask trains a share, k = int(density * total).

    Return, in this order: how many numbers train; how many bytes their gradients and Adam's two numbers for each of
    them take, in fp32, if they train as one short vector; how many bytes are stored, for each the value in fp32 and
    its position as a 32-bit integer.
    """
    # BEGIN SOLUTION
    k = int(density * total)
    return k, 12 * k, 8 * k
    # END SOLUTION


def fish_unreset(n: int) -> float:
    """Predict: the survey's loop never sets the gradients back to zero.  By what factor is its F too large?

    Take the simplest data: n copies of one example.  Every backward pass adds the same g to what `.grad` holds, the
    listing squares what it finds there each time, and divides the sum of the squares by n.  The right F would be g^2.
    """
    # BEGIN SOLUTION
    return sum(i**2 for i in range(1, n + 1)) / n  # (n + 1) (2 n + 1) / 6
    # END SOLUTION
