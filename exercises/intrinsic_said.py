# Write here, save, and check: `minipeft check`, or check() in the lesson.  (intrinsic_said, version c953a69d)
"""Lesson 14, Intrinsic SAID: the whole model moves, in a few random directions.

Letters: d how many numbers z has, D how many numbers a tensor has, n a power of two that is at least D and at least d.
H is the Hadamard matrix (n, n): all its numbers are 1 or -1, and it is symmetric.
"""

import torch
from torch import Tensor


# 14.1 The Hadamard transform · medium · 10 minutes · 6 points
def said_hadamard(x: Tensor) -> Tensor:
    """H x for x (n,), n a power of two, without forming H: (n,).

        H_1 = (1)        H_2n = | H_n   H_n |
                                | H_n  -H_n |

    Nothing is normalised.  Cut x in two halves u and v, and see what H does to them: two transforms of half the size
    are left.  So it takes n log n steps, where the matrix would take n^2.
    """
    raise NotImplementedError("exercise 14.1")


# 14.2 Random directions that nobody stores · medium · 15 minutes · 8 points
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
    raise NotImplementedError("exercise 14.2")


# 14.3 Find the mistake: the gradient by hand · medium · 10 minutes · 5 points
def said_backward(g: Tensor, signs: Tensor, order: Tensor, normal: Tensor, H: Tensor) -> Tensor:
    """A mistake to find: the gradient of z by hand, P^T g.

    g (size,) is the loss's gradient with respect to the tensor that moves by P z, P as in 14.2; signs (d,), order (n,),
    normal (n,), H (n, n).  Returned is (d,).  So everything of 14.2 is done backwards, in the opposite order.  The code
    below runs, gives the right shape, and numbers of the right size.  Find what is wrong and put it right.
    """
    c = 1 / (len(g) * normal.square().sum()).sqrt()
    x = torch.cat([g, g.new_zeros(len(H) - len(g))])  # the cut, backwards
    x = normal * (H @ x)                              # H, then G
    x = x[order]                                      # Pi
    x = H @ x
    return c * signs * x[: len(signs)]


# 14.4 Where the budget goes · easy · 5 minutes · 4 points
def said_count(sizes: list[int], dims: int) -> tuple[int, int, int]:
    """Where a budget of `dims` numbers goes, for a model whose tensors have `sizes` numbers each.

    Return how many of the budget are numbers of z, how many numbers train in all, and how many numbers of the model
    change once z is not zero.  Each tensor has a scale, which is paid for out of the same budget.
    """
    raise NotImplementedError("exercise 14.4")


# 14.5 Read off d90 · easy · 5 minutes · 3 points
def said_d90(budgets: list[int], accuracies: list[float], full: float) -> int:
    """The intrinsic dimension d90, as measured: the smallest budget that reaches 90 % of full fine-tuning's accuracy.

    accuracies[i] (0 to 1) was reached with budgets[i] numbers, `full` by full fine-tuning.  The budgets come in any
    order.  A smaller one that reaches it counts, even if a larger one does not.  If none does, return 0.
    """
    raise NotImplementedError("exercise 14.5")
