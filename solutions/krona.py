"""Lesson 16, KronA: a frozen weight and a Kronecker product beside it.

Letters: b batch, t tokens.  A weight W is (d_out, d_in), as in nn.Linear, and the two factors share its sides:
A (a_out, a_in) and B (b_out, b_in), with a_out b_out = d_out and a_in b_in = d_in.
A (x) B has a_out by a_in blocks, each as large as B; the block in row i and column j is A[i, j] B.
"""

import torch
from torch import Tensor


def krona_linear(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """A Linear with KronA beside it, while it trains:  W x + bias + scale (A (x) B) x.

    x (b, t, d_in), W (d_out, d_in), bias (d_out,), A (a_out, a_in), B (b_out, b_in)  ->  (b, t, d_out)

    Do it without the product, which is as large as W.  Cut each x into a_in rows of b_in numbers, one after the other,
    and call this matrix X; then (A (x) B) x is A X B^T, its rows put one after the other.
    """
    # BEGIN SOLUTION
    X = x.unflatten(-1, (A.shape[1], B.shape[1]))
    return x @ W.T + bias + scale * (A @ X @ B.T).flatten(-2)
    # END SOLUTION


def krona_survey(x: Tensor, W: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """Three mistakes to find: the survey's listing, for one vector x (d_in,), in the survey's notation.

    There a vector stands on the left of its matrix, x W + scale x (A (x) B), so everything is transposed:
    W (d_in, d_out), A (a_in, a_out), B (b_in, b_out)  ->  (d_out,)

    The code below raises unless A and B are square: that is one mistake.  The second shows when scale is not 1, and the
    third only when A is not zero.
    """
    # BEGIN SOLUTION
    X = x.reshape(A.shape[0], B.shape[0])
    y = x @ W + scale * (A.T @ X @ B).reshape(-1)
    # GIVEN
    # y = x @ W
    # X = y.reshape(A.shape[1], B.shape[1])
    # y = scale * (y + (A.T @ X @ B).reshape(-1))
    # END SOLUTION
    return y


def krona_fewest(d_out: int, d_in: int) -> int:
    """With how few numbers can KronA stand beside a weight (d_out, d_in)?  You choose the sizes of A and B."""
    # BEGIN SOLUTION
    sizes = [(i, j) for i in range(1, d_out + 1) if d_out % i == 0 for j in range(1, d_in + 1) if d_in % j == 0]
    return min(i * j + (d_out // i) * (d_in // j) for i, j in sizes)
    # END SOLUTION


def krona_rank(a_out: int, a_in: int, b_out: int, b_in: int) -> int:
    """Predict: the rank of A (x) B for random A (a_out, a_in) and B (b_out, b_in).  It can't be more for any others."""
    # BEGIN SOLUTION
    return min(a_out, a_in) * min(b_out, b_in)
    # END SOLUTION


def krona_nearest(D: Tensor, a_out: int, a_in: int) -> Tensor:
    """The Kronecker product A (x) B nearest to D (d_out, d_in), with A (a_out, a_in).  Returned is the product.

    Nearest: the sum of the squares of D - A (x) B is as small as it can be.  a_out divides d_out, and a_in d_in.

    Cut D into its a_out by a_in blocks, and make each block a row of a new matrix, (a_out a_in, b_out b_in).  If D is a
    Kronecker product, row (i, j) is A[i, j] times all of B, one after the other.  What does that say of the new
    matrix's rank?  And which matrix of that rank is nearest to it, for any D?
    """
    # BEGIN SOLUTION
    b_out, b_in = D.shape[0] // a_out, D.shape[1] // a_in
    blocks = D.reshape(a_out, b_out, a_in, b_in).transpose(1, 2).reshape(a_out * a_in, b_out * b_in)
    U, S, V = torch.linalg.svd(blocks, full_matrices=False)
    A, B = (S[0] * U[:, 0]).reshape(a_out, a_in), V[0].reshape(b_out, b_in)
    return torch.kron(A, B)
    # END SOLUTION
