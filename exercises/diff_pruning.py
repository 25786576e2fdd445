# Write here, save, and check: `minipeft check`, or check() in the lesson.  (diff_pruning, version d7aeb477)
"""Lesson 11, DiffPruning: a change of every number, and a gate that closes on nearly all of them.

Letters: m and n the two sides of a weight, p numbers in a row, l < 0 and h > 1 the ends to which a gate is stretched.
"""

import math

import torch
from torch import Tensor


# 11.1 A gate that is often exactly shut · medium · 10 minutes · 6 points
def diff_gate(u: Tensor, alpha: Tensor, low: float, high: float) -> Tensor:
    """One draw of the hard concrete gate, for noise u between 0 and 1.

        s = sigmoid(log u - log(1 - u) + alpha)          z = s stretched to [low, high], then cut to [0, 1]

    Stretched means: s = 0 becomes low, s = 1 becomes high, and what is between stays in proportion.
    u (m, n), alpha (m, n), low < 0, high > 1  ->  z (m, n)
    """
    raise NotImplementedError("exercise 11.1")


# 11.2 How many will change · medium · 10 minutes · 6 points
def diff_expected(alpha: Tensor, alpha_g: Tensor, low: float, high: float) -> Tensor:
    """How many numbers of one tensor will change, on average over the draws: the penalty of the structured form.

        P(z > 0) = sigmoid(alpha - log(-low / high))

    A number changes if its own gate and its tensor's gate are both open, and the two are drawn independently.
    alpha (m, n) belongs to the numbers' gates, alpha_g () to the tensor's.  Return the expected count, ().
    """
    raise NotImplementedError("exercise 11.2")


# 11.3 The projection · easy · 10 minutes · 6 points
def diff_project(theta: Tensor, w: Tensor, z: Tensor, k: int) -> Tensor:
    """After the search: keep the k largest changes, and undo all others.

    theta (p,) are the base's numbers, w (p,) the learnt values, z (p,) one draw of the gates.  A number's change is
    z w.  Return the tuned numbers (p,): theta plus the k changes of the largest size, either sign, and theta alone
    where the change was not among them.
    """
    raise NotImplementedError("exercise 11.3")


# 11.4 Find the mistake: the gradient of a gate that is shut · hard · 15 minutes · 6 points
def diff_gradients(
    g: Tensor, w: Tensor, alpha: Tensor, u: Tensor, z_g: float, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """A mistake to find: the gradients of w and alpha by hand, for one draw u of the gates.

    The tuned numbers are  theta + z_g z w,  z being the gate of `diff_gate` and z_g the tensor's gate.  g (p,) is the
    loss's gradient with respect to the tuned numbers; w, alpha and u are (p,).  Returned are the gradients of w (p,)
    and of alpha (p,), in this order.  The code below runs, and most of its numbers are right.  Find those that
    are not.  (What would torch's own autograd say?)
    """
    s = torch.sigmoid(torch.logit(u) + alpha)
    z = (s * (high - low) + low).clamp(0, 1)
    dw = g * z_g * z
    dalpha = g * z_g * w * (high - low) * s * (1 - s)
    return dw, dalpha


# 11.5 What the search costs · easy · 5 minutes · 3 points
def diff_counts(sizes: list[int], density: float) -> tuple[int, int, int]:
    """Three numbers about DiffPruning, in the structured form, on a model whose tensors have these sizes.

    Return, in this order: how many numbers train in the first stage (a w and an alpha for each number, one alpha for
    each tensor); how many train in the last one, int(density * all numbers); how many bytes are stored in the end,
    for each of those a value in fp32 and a position as a 32-bit integer.
    """
    raise NotImplementedError("exercise 11.5")


# 11.6 Predict: shut as often as open · medium · 10 minutes · 3 points
def diff_even(low: float, high: float) -> float:
    """Predict: for which alpha is a gate exactly 0 as often as it is exactly 1?

    P(z = 0) = 1 - sigmoid(alpha - log(-low / high))        P(z = 1) = sigmoid(alpha - log((1 - low) / (high - 1)))
    """
    raise NotImplementedError("exercise 11.6")
