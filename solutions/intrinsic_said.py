"""Lesson 14, Intrinsic SAID: the whole model moves, in a few random directions.

Letters: d how many numbers z has, D how many numbers a tensor has, n a power of two that is at least D and at least d.
H is the Hadamard matrix (n, n): all its numbers are 1 or -1, and it is symmetric.
"""

import torch
from torch import Tensor


def said_hadamard(x: Tensor) -> Tensor:
    """H x for x (n,), n a power of two, without forming H: (n,).

        H_1 = (1)        H_2n = | H_n   H_n |
                                | H_n  -H_n |

    Nothing is normalised.  Cut x in two halves u and v, and see what H does to them: two transforms of half the size
    are left.  So it takes n log n steps, where the matrix would take n^2.
    """
    # BEGIN SOLUTION
    if len(x) == 1:
        return x
    u, v = x.chunk(2)
    return torch.cat([said_hadamard(u + v), said_hadamard(u - v)])
    # END SOLUTION


def said_fastfood(z: Tensor, signs: Tensor, order: Tensor, normal: Tensor, H: Tensor, size: int) -> Tensor:
    """The change of one tensor, flat:  P z  with  P = c H G Pi H B, of which the first `size` rows count.

    From right to left, with z (d,) and H (n, n):
        B    z times signs (d,), which are 1 and -1; then zeros behind, up to n
        H    as it is
        Pi   a permutation: number i of the result is number order[i] of what comes in; order (n,) holds integers
        G    times normal (n,)
        H    once more; then the first `size` numbers, times  c = 1 / sqrt(size * (sum of normal^2))
    ->  (size,)
    """
    # BEGIN SOLUTION
    x = torch.cat([signs * z, z.new_zeros(len(H) - len(z))])
    x = normal * (H @ x)[order]
    return (H @ x)[:size] / (size * normal.square().sum()).sqrt()
    # END SOLUTION


def said_backward(g: Tensor, signs: Tensor, order: Tensor, normal: Tensor, H: Tensor) -> Tensor:
    """A mistake to find: the gradient of z by hand, P^T g.

    g (size,) is the loss's gradient with respect to the tensor that moves by P z, P as in 14.2; signs (d,), order (n,),
    normal (n,), H (n, n).  Returned is (d,).  So everything of 14.2 is done backwards, in the opposite order.  The code
    below runs, gives the right shape, and numbers of the right size.  Find what is wrong and put it right.
    """
    # BEGIN SOLUTION
    c = 1 / (len(g) * normal.square().sum()).sqrt()
    x = torch.cat([g, g.new_zeros(len(H) - len(g))])
    x = normal * (H @ x)
    x = x[order.argsort()]
    x = H @ x
    # GIVEN
    # c = 1 / (len(g) * normal.square().sum()).sqrt()
    # x = torch.cat([g, g.new_zeros(len(H) - len(g))])  # the cut, backwards
    # x = normal * (H @ x)                              # H, then G
    # x = x[order]                                      # Pi
    # x = H @ x
    # END SOLUTION
    return c * signs * x[: len(signs)]


def said_count(sizes: list[int], dims: int) -> tuple[int, int, int]:
    """Where a budget of `dims` numbers goes, for a model whose tensors have `sizes` numbers each.

    Return how many of the budget are numbers of z, how many numbers train in all, and how many numbers of the model
    change once z is not zero.  Each tensor has a scale, which is paid for out of the same budget.
    """
    # BEGIN SOLUTION
    return dims - len(sizes), dims, sum(sizes)
    # END SOLUTION


def said_d90(budgets: list[int], accuracies: list[float], full: float) -> int:
    """The intrinsic dimension d90, as measured: the smallest budget that reaches 90 % of full fine-tuning's accuracy.

    accuracies[i] (0 to 1) was reached with budgets[i] numbers, `full` by full fine-tuning.  The budgets come in any
    order.  A smaller one that reaches it counts, even if a larger one does not.  If none does, return 0.
    """
    # BEGIN SOLUTION
    return min((d for d, accuracy in zip(budgets, accuracies, strict=True) if accuracy >= 0.9 * full), default=0)
    # END SOLUTION
