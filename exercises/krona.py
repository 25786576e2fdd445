# Write here, save, and check: `minipeft check`, or check() in the lesson.  (krona, version 69df32be)
"""Lesson 16, KronA: a frozen weight and a Kronecker product beside it.

Letters: b batch, t tokens.  A weight W is (d_out, d_in), as in nn.Linear, and the two factors share its sides:
A (a_out, a_in) and B (b_out, b_in), with a_out b_out = d_out and a_in b_in = d_in.
A (x) B has a_out by a_in blocks, each as large as B; the block in row i and column j is A[i, j] B.
"""

import torch
from torch import Tensor


# 16.1 The layer, without the product · medium · 15 minutes · 8 points
def krona_linear(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """A Linear with KronA beside it, while it trains:  W x + bias + scale (A (x) B) x.

    x (b, t, d_in), W (d_out, d_in), bias (d_out,), A (a_out, a_in), B (b_out, b_in)  ->  (b, t, d_out)

    Do it without the product, which is as large as W.  Cut each x into a_in rows of b_in numbers, one after the other,
    and call this matrix X; then (A (x) B) x is A X B^T, its rows put one after the other.
    """
    raise NotImplementedError("exercise 16.1")


# 16.2 Find the mistakes: the survey's listing · medium · 10 minutes · 6 points
def krona_survey(x: Tensor, W: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """Three mistakes to find: the survey's listing, for one vector x (d_in,), in the survey's notation.

    There a vector stands on the left of its matrix, x W + scale x (A (x) B), so everything is transposed:
    W (d_in, d_out), A (a_in, a_out), B (b_in, b_out)  ->  (d_out,)

    The code below raises unless A and B are square: that is one mistake.  The second shows when scale is not 1, and the
    third only when A is not zero.
    """
    y = x @ W
    X = y.reshape(A.shape[1], B.shape[1])
    y = scale * (y + (A.T @ X @ B).reshape(-1))
    return y


# 16.3 The fewest numbers · medium · 10 minutes · 4 points
def krona_fewest(d_out: int, d_in: int) -> int:
    """With how few numbers can KronA stand beside a weight (d_out, d_in)?  You choose the sizes of A and B."""
    raise NotImplementedError("exercise 16.3")


# 16.4 Predict: the rank of the product · easy · 5 minutes · 3 points
def krona_rank(a_out: int, a_in: int, b_out: int, b_in: int) -> int:
    """Predict: the rank of A (x) B for random A (a_out, a_in) and B (b_out, b_in).  It can't be more for any others."""
    raise NotImplementedError("exercise 16.4")


# 16.5 The nearest Kronecker product · hard · 15 minutes · 5 points
def krona_nearest(D: Tensor, a_out: int, a_in: int) -> Tensor:
    """The Kronecker product A (x) B nearest to D (d_out, d_in), with A (a_out, a_in).  Returned is the product.

    Nearest: the sum of the squares of D - A (x) B is as small as it can be.  a_out divides d_out, and a_in d_in.

    Cut D into its a_out by a_in blocks, and make each block a row of a new matrix, (a_out a_in, b_out b_in).  If D is a
    Kronecker product, row (i, j) is A[i, j] times all of B, one after the other.  What does that say of the new
    matrix's rank?  And which matrix of that rank is nearest to it, for any D?
    """
    raise NotImplementedError("exercise 16.5")
