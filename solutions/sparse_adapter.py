"""Lesson 18, SparseAdapter: adapters that are cut before training.

Letters: n tokens, b batch, t tokens, d width, m the adapter's size, o and i the sides of any matrix, L layers.
Weights are stored as in nn.Linear: D (m, d) reads, U (d, m) writes, and x W^T + bias is a Linear.
A mask M has 1 for each weight that stays and 0 for each that is cut.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def snip_scores(h: Tensor, G: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """SNIP's scores of an adapter's two matrices, before anything is cut: (of D, of U), as large as they are.

    The adapter is  h + (M_U * U) relu((M_D * D) h + c) + b,  and both masks are ones.  The score of a weight is
    |dL/dM|, the size of the loss's gradient with respect to its place in the mask.

    h (n, d), D (m, d), c (m,), U (d, m), b (d,).  G (n, d) is the loss's gradient with respect to the adapter's result;
    the gradient of a weight is the sum over the n tokens.  You may work it out by hand, or ask torch.
    """
    # BEGIN SOLUTION
    z = F.relu(h @ D.T + c)
    grad_U = G.T @ z
    grad_D = ((G @ U) * (z > 0)).T @ h
    return (D * grad_D).abs(), (U * grad_U).abs()
    # END SOLUTION


def sparse_masks(score_D: Tensor, score_U: Tensor, sparsity: float) -> tuple[Tensor, Tensor]:
    """The masks (M_D, M_U) that keep the weights with the largest scores, of both matrices *together*.

    score_D (m, d), score_U (d, m); of all their N numbers, round((1 - sparsity) N) stay.  No two scores are equal.
    The masks are of torch.float32, 1 for what stays and 0 for what is cut.
    """
    # BEGIN SOLUTION
    scores = torch.cat([score_D.flatten(), score_U.flatten()])
    mask = torch.zeros(len(scores))
    mask[scores.topk(round((1 - sparsity) * len(scores))).indices] = 1
    return mask[: score_D.numel()].view(score_D.shape), mask[score_D.numel() :].view(score_U.shape)
    # END SOLUTION


def sparse_adapter(h: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor, M_D: Tensor, M_U: Tensor) -> Tensor:
    """A cut adapter:  h + (M_U * U) relu((M_D * D) h + c) + b.   What is cut adds nothing and gets no gradient.

    h (b, t, d), D and M_D (m, d), c (m,), U and M_U (d, m), b (d,)  ->  (b, t, d)
    """
    # BEGIN SOLUTION
    return h + F.relu(h @ (M_D * D).T + c) @ (M_U * U).T + b
    # END SOLUTION


def large_sparse_count(L: int, d: int, m: int, grow: int) -> int:
    """How many numbers train with Large-Sparse, two adapters in each of L layers of width d?

    The adapters are `grow` times as wide as m, and so many weights are cut that as many stay as a dense adapter of size
    m has.  The biases c and b are never cut.
    """
    # BEGIN SOLUTION
    return 2 * L * (2 * d * m + grow * m + d)
    # END SOLUTION


def sparse_step(w: Tensor, M: Tensor, v: Tensor, g: Tensor, lr: float, beta: float) -> Tensor:
    """A mistake to find: one step of gradient descent with momentum, on a weight that is cut.

    w (o, i) is the weight and M (o, i) its mask.  v (o, i) is the momentum so far, and g (o, i) the gradient; both were
    computed for the whole matrix, as if nothing were cut.  lr and beta are numbers.  Returned is the new weight: what
    stays has made its step, and what is cut is zero, exactly.  The code below cuts, and yet what is cut comes back.
    """
    # BEGIN SOLUTION
    v = beta * v + g
    w = M * (w - lr * v)  # after the step: nothing can come back, whatever v and g hold
    # GIVEN
    # w = M * w
    # v = beta * v + M * g
    # w = w - lr * v
    # END SOLUTION
    return w
