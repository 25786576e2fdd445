"""Wrong answers to lesson 16's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import math

import torch

from minipeft.course.exercise import wrong


def cut(x, A, B):
    return x.unflatten(-1, (A.shape[1], B.shape[1]))


@wrong("krona_linear", "scale reaches the frozen path too: it belongs to the change alone")
def scales_everything(x, W, bias, A, B, scale):
    return scale * (x @ W.T + bias + (A @ cut(x, A, B) @ B.T).flatten(-2))


@wrong("krona_linear", "scale is missing")
def no_scale(x, W, bias, A, B, scale):
    return x @ W.T + bias + (A @ cut(x, A, B) @ B.T).flatten(-2)


@wrong("krona_linear", "that is B (x) A: it is A that says which block, and B what is in it")
def other_order(x, W, bias, A, B, scale):
    return x @ W.T + bias + scale * x @ torch.kron(B, A).T


@wrong("krona_linear", "the grid is filled column by column: the first row of X is the first b_in numbers of x")
def columns_first(x, W, bias, A, B, scale):
    X = x.unflatten(-1, (B.shape[1], A.shape[1])).transpose(-2, -1)
    return x @ W.T + bias + scale * (A @ X @ B.T).flatten(-2)


@wrong("krona_linear", "the result is read column by column: put the rows of A X B^T one after the other")
def columns_last(x, W, bias, A, B, scale):
    return x @ W.T + bias + scale * (A @ cut(x, A, B) @ B.T).transpose(-2, -1).flatten(-2)


@wrong("krona_linear", "the bias is missing")
def no_bias(x, W, bias, A, B, scale):
    return x @ W.T + scale * (A @ cut(x, A, B) @ B.T).flatten(-2)


@wrong("krona_linear", "the frozen path is missing: KronA stands beside W, not in its place")
def change_alone(x, W, bias, A, B, scale):
    return scale * (A @ cut(x, A, B) @ B.T).flatten(-2)


@wrong("krona_survey", "the code as it was given: what is adapted is x, and not yet x W")
def survey_as_given(x, W, A, B, scale):
    y = x @ W
    X = y.reshape(A.shape[1], B.shape[1])
    return scale * (y + (A.T @ X @ B).reshape(-1))


@wrong(
    "krona_survey",
    "x has d_in numbers: its grid has the sides that the factors read, and in the survey these come first",
)
def survey_wrong_grid(x, W, A, B, scale):
    X = x.reshape(A.shape[1], B.shape[1])
    return x @ W + scale * (A.T @ X @ B).reshape(-1)


@wrong("krona_survey", "the grid has the right sides now, but x W is put into it: the change reads x")
def survey_reads_output(x, W, A, B, scale):
    y = x @ W
    X = y.reshape(A.shape[0], B.shape[0])
    return y + scale * (A.T @ X @ B).reshape(-1)


@wrong("krona_survey", "one is left: scale reaches x W too")
def survey_scales_everything(x, W, A, B, scale):
    X = x.reshape(A.shape[0], B.shape[0])
    return scale * (x @ W + (A.T @ X @ B).reshape(-1))


@wrong("krona_survey", "now scale is gone altogether: the change needs it")
def survey_no_scale(x, W, A, B, scale):
    X = x.reshape(A.shape[0], B.shape[0])
    return x @ W + (A.T @ X @ B).reshape(-1)


@wrong("krona_fewest", "near-square sides, one for each of the two, are the library's choice; a better pair may exist")
def fewest_near_square(d_out, d_in):
    i, j = (max(k for k in range(1, math.isqrt(n) + 1) if n % k == 0) for n in (d_out, d_in))
    return i * j + (d_out // i) * (d_in // j)


@wrong("krona_fewest", "2 sqrt(d_out d_in) is the bound; whole sides that divide d_out and d_in may not reach it")
def fewest_bound(d_out, d_in):
    return round(2 * math.sqrt(d_out * d_in))


@wrong(
    "krona_fewest", "that is LoRA of rank 1, which is one KronA among others: the product can be had for fewer numbers"
)
def fewest_lora(d_out, d_in):
    return d_out + d_in


@wrong("krona_fewest", "A alone is counted: B trains as well, and the smaller A is, the larger is B")
def fewest_a_alone(d_out, d_in):
    return 1


@wrong("krona_fewest", "that is a square A: it need not be, its sides divide d_out and d_in each for itself")
def fewest_square(d_out, d_in):
    return min(i * i + (d_out // i) * (d_in // i) for i in range(1, d_out + 1) if d_out % i == d_in % i == 0)


@wrong("krona_rank", "a full rank takes two square factors: a thin one limits the product as well")
def rank_full(a_out, a_in, b_out, b_in):
    return min(a_out * b_out, a_in * b_in)


@wrong("krona_rank", "ranks multiply here; they add up, at most, in a sum of matrices")
def rank_sum(a_out, a_in, b_out, b_in):
    return min(a_out, a_in) + min(b_out, b_in)


@wrong(
    "krona_rank", "that is the limit for the usual product of two matrices; a Kronecker product multiplies the ranks"
)
def rank_of_a_product(a_out, a_in, b_out, b_in):
    return min(a_out, a_in, b_out, b_in)


@wrong("krona_rank", "the shorter side is the limit, not the longer one")
def rank_longer_sides(a_out, a_in, b_out, b_in):
    return max(a_out, a_in) * max(b_out, b_in)


@wrong("krona_nearest", "that is the nearest matrix of rank 1, LoRA's choice: cut D into blocks first")
def nearest_rank_1(D, a_out, a_in):
    U, S, V = torch.linalg.svd(D, full_matrices=False)
    return S[0] * U[:, :1] @ V[:1]


@wrong("krona_nearest", "a plain reshape doesn't cut blocks: the rows of one block lie d_in numbers apart in D")
def nearest_plain_reshape(D, a_out, a_in):
    b_out, b_in = D.shape[0] // a_out, D.shape[1] // a_in
    U, S, V = torch.linalg.svd(D.reshape(a_out * a_in, b_out * b_in), full_matrices=False)
    return torch.kron((S[0] * U[:, 0]).reshape(a_out, a_in), V[0].reshape(b_out, b_in))


@wrong("krona_nearest", "the first singular value is missing: its two vectors are of length 1")
def nearest_without_size(D, a_out, a_in):
    b_out, b_in = D.shape[0] // a_out, D.shape[1] // a_in
    blocks = D.reshape(a_out, b_out, a_in, b_in).transpose(1, 2).reshape(a_out * a_in, b_out * b_in)
    U, S, V = torch.linalg.svd(blocks, full_matrices=False)
    return torch.kron(U[:, 0].reshape(a_out, a_in), V[0].reshape(b_out, b_in))


@wrong("krona_nearest", "the two are exchanged: that is B (x) A")
def nearest_other_order(D, a_out, a_in):
    b_out, b_in = D.shape[0] // a_out, D.shape[1] // a_in
    blocks = D.reshape(a_out, b_out, a_in, b_in).transpose(1, 2).reshape(a_out * a_in, b_out * b_in)
    U, S, V = torch.linalg.svd(blocks, full_matrices=False)
    return torch.kron(V[0].reshape(b_out, b_in), (S[0] * U[:, 0]).reshape(a_out, a_in))


@wrong("krona_nearest", "the mean block, the same everywhere: A has a number of its own for each block")
def nearest_mean_block(D, a_out, a_in):
    b_out, b_in = D.shape[0] // a_out, D.shape[1] // a_in
    return D.reshape(a_out, b_out, a_in, b_in).mean((0, 2)).repeat(a_out, a_in)
