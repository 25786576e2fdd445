# Write here, save, and check: `minipeft check`, or check() in the lesson.  (fishmask, version c76f0128)
"""Lesson 13, FISH Mask: the few numbers of a model that train, chosen by their Fisher information.

Letters: n examples, t tokens, d_in and d_out the two sides of a weight, p numbers in a row, F Fisher information.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import torch
from torch import Tensor


# 13.1 One gradient for each example · medium · 15 minutes · 7 points
def fish_fisher(x: Tensor, G: Tensor) -> Tensor:
    """The Fisher information of each number of a Linear's weight, from one backward pass over n examples.

        F = mean over examples of (d log p(example) / d W)^2,  number by number

    x (n, t, d_in) is what the Linear has read, G (n, t, d_out) the gradient of the sum of all log p with respect to
    what it has written.  Row i of both belongs to example i alone.  Return F (d_out, d_in).

    W is the same for all t tokens of an example: each of them adds to that example's gradient.
    """
    raise NotImplementedError("exercise 13.1")


# 13.2 The mask · medium · 10 minutes · 6 points
def fish_mask(F1: Tensor, F2: Tensor, F3: Tensor, density: float) -> tuple[Tensor, Tensor, Tensor]:
    """Which numbers train: the k with the most Fisher information, of all three tensors together.

    F1 (a, b), F2 (c, b), F3 (c,): the information of each number of a model that has three tensors.  Return three
    masks of these shapes, of torch.bool, in this order: True for exactly k = int(density * numbers in the model).
    """
    raise NotImplementedError("exercise 13.2")


# 13.3 Find the mistake: what moves although its gradient is zero · medium · 10 minutes · 6 points
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
    g = g * mask
    m = beta * m + g
    theta = theta - lr * (m + decay * theta)
    return theta, m


# 13.4 What a mask costs · easy · 5 minutes · 3 points
def fish_costs(total: int, density: float) -> tuple[int, int, int]:
    """Three numbers about a model of `total` parameters of which FISH Mask trains a share, k = int(density * total).

    Return, in this order: how many numbers train; how many bytes their gradients and Adam's two numbers for each of
    them take, in fp32, if they train as one short vector; how many bytes are stored, for each the value in fp32 and
    its position as a 32-bit integer.
    """
    raise NotImplementedError("exercise 13.4")


# 13.5 Predict: gradients that are never reset · medium · 5 minutes · 4 points
def fish_unreset(n: int) -> float:
    """Predict: the survey's loop never sets the gradients back to zero.  By what factor is its F too large?

    Take the simplest data: n copies of one example.  Every backward pass adds the same g to what `.grad` holds, the
    listing squares what it finds there each time, and divides the sum of the squares by n.  The right F would be g^2.
    """
    raise NotImplementedError("exercise 13.5")
