"""Lesson 11, DiffPruning: a change of every number, and a gate that closes on nearly all of them.

Letters: m and n the two sides of a weight, p numbers in a row, l < 0 and h > 1 the ends to which a gate is stretched.
"""

import math

import torch
from torch import Tensor


def diff_gate(u: Tensor, alpha: Tensor, low: float, high: float) -> Tensor:
    """One draw of the hard concrete gate, for noise u between 0 and 1.

        s = sigmoid(log u - log(1 - u) + alpha)          z = s stretched to [low, high], then cut to [0, 1]

    Stretched means: s = 0 becomes low, s = 1 becomes high, and what is between stays in proportion.
    u (m, n), alpha (m, n), low < 0, high > 1  ->  z (m, n)
    """
    # BEGIN SOLUTION
    s = torch.sigmoid(torch.log(u) - torch.log(1 - u) + alpha)
    return (s * (high - low) + low).clamp(0, 1)
    # END SOLUTION


def diff_expected(alpha: Tensor, alpha_g: Tensor, low: float, high: float) -> Tensor:
    """How many numbers of one tensor will change, on average over the draws: the penalty of the structured form.

        P(z > 0) = sigmoid(alpha - log(-low / high))

    A number changes if its own gate and its tensor's gate are both open, and the two are drawn independently.
    alpha (m, n) belongs to the numbers' gates, alpha_g () to the tensor's.  Return the expected count, ().
    """
    # BEGIN SOLUTION
    shift = math.log(-low / high)
    return (torch.sigmoid(alpha - shift) * torch.sigmoid(alpha_g - shift)).sum()
    # END SOLUTION


def diff_project(theta: Tensor, w: Tensor, z: Tensor, k: int) -> Tensor:
    """After the search: keep the k largest changes, and undo all others.

    theta (p,) are the base's numbers, w (p,) the learnt values, z (p,) one draw of the gates.  A number's change is
    z w.  Return the tuned numbers (p,): theta plus the k changes of the largest size, either sign, and theta alone
    where the change was not among them.
    """
    # BEGIN SOLUTION
    change = z * w
    kept = torch.zeros_like(change)
    largest = change.abs().topk(k).indices
    kept[largest] = change[largest]
    return theta + kept
    # END SOLUTION


def diff_gradients(
    g: Tensor, w: Tensor, alpha: Tensor, u: Tensor, z_g: float, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """A mistake to find: the gradients of w and alpha by hand, for one draw u of the gates.

    The tuned numbers are  theta + z_g z w,  z being the gate of `diff_gate` and z_g the tensor's gate.  g (p,) is the
    loss's gradient with respect to the tuned numbers; w, alpha and u are (p,).  Returned are the gradients of w (p,)
    and of alpha (p,), in this order.  The code below runs, and most of its numbers are right.  Find those that
    are not.  (What would torch's own autograd say?)
    """
    # BEGIN SOLUTION
    s = torch.sigmoid(torch.logit(u) + alpha)
    stretched = s * (high - low) + low
    z = stretched.clamp(0, 1)
    dw = g * z_g * z
    between = (stretched > 0) & (stretched < 1)  # a gate that was cut to 0 or 1 does not feel a small step of alpha
    dalpha = g * z_g * w * (high - low) * s * (1 - s) * between
    # GIVEN
    # s = torch.sigmoid(torch.logit(u) + alpha)
    # z = (s * (high - low) + low).clamp(0, 1)
    # dw = g * z_g * z
    # dalpha = g * z_g * w * (high - low) * s * (1 - s)
    # END SOLUTION
    return dw, dalpha


def diff_counts(sizes: list[int], density: float) -> tuple[int, int, int]:
    """Three numbers about DiffPruning, in the structured form, on a model whose tensors have these sizes.

    Return, in this order: how many numbers train in the first stage (a w and an alpha for each number, one alpha for
    each tensor); how many train in the last one, int(density * all numbers); how many bytes are stored in the end,
    for each of those a value in fp32 and a position as a 32-bit integer.
    """
    # BEGIN SOLUTION
    total = sum(sizes)
    k = int(density * total)
    return 2 * total + len(sizes), k, 8 * k
    # END SOLUTION


def diff_even(low: float, high: float) -> float:
    """Predict: for which alpha is a gate exactly 0 as often as it is exactly 1?

    P(z = 0) = 1 - sigmoid(alpha - log(-low / high))        P(z = 1) = sigmoid(alpha - log((1 - low) / (high - 1)))
    """
    # BEGIN SOLUTION
    return (math.log(-low / high) + math.log((1 - low) / (high - 1))) / 2
    # END SOLUTION
