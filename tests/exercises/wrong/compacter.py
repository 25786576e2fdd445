"""Wrong answers to lesson 21's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch
import torch.nn.functional as F

from minipeft.course.exercise import wrong


def summed(A, s, t):
    return sum(torch.kron(a, b) for a, b in zip(A, s @ t, strict=True))


def lphm(x, A, s, t, bias):  # as it is given, so that it raises the same
    pieces = x.unflatten(-1, (len(A), -1))
    return torch.einsum("iac, ior, irk, blck -> blao", A, s, t, pieces).flatten(-2) + bias


@wrong("phm_weight", "the two are exchanged: A stands on the left, A (x) B is blocks of B")
def weight_exchanged(A, s, t):
    return sum(torch.kron(b, a) for a, b in zip(A, s @ t, strict=True))


@wrong("phm_weight", "one product of two sums: each A_i belongs to its own s_i t_i, multiply first and then add")
def weight_of_sums(A, s, t):
    return torch.kron(A.sum(0), (s @ t).sum(0))


@wrong("phm_weight", "that is one term: add all n of them")
def weight_first_term(A, s, t):
    return torch.kron(A[0], s[0] @ t[0])


@wrong("phm_weight", "one term is missing: i runs over all n, the last one too")
def weight_without_last(A, s, t):
    return summed(A[:-1], s[:-1], t[:-1])


@wrong("phm_weight", "the mean instead of the sum")
def weight_mean(A, s, t):
    return summed(A, s, t) / len(A)


@wrong("phm_weight", "A_i is transposed: the block in row a and column c is A_i[a, c] B_i")
def weight_transposed(A, s, t):
    return summed(A.transpose(1, 2), s, t)


@wrong("phm_weight", "the sum is transposed: W is (d_out, d_in), and s belongs to the side of the output")
def weight_turned(A, s, t):
    return summed(A, s, t).T


@wrong("compacter_adapter", "the skip is missing: h itself has to pass")
def adapter_without_skip(h, A, s_down, t_down, c, s_up, t_up, b):
    return lphm(F.gelu(lphm(h, A, s_down, t_down, c)), A, s_up, t_up, b)


@wrong("compacter_adapter", "the code as it was given: up is a layer of its own, with s_up, t_up and b")
def adapter_as_given(h, A, s_down, t_down, c, s_up, t_up, b):
    return lphm(F.gelu(lphm(h, A, s_down, t_down, c)), A, s_down, t_down, c)


@wrong("compacter_adapter", "b is missing: the layer up has a bias too")
def adapter_without_b(h, A, s_down, t_down, c, s_up, t_up, b):
    return h + lphm(F.gelu(lphm(h, A, s_down, t_down, c)), A, s_up, t_up, 0 * b)


@wrong("compacter_adapter", "gelu is missing between the two layers")
def adapter_without_gelu(h, A, s_down, t_down, c, s_up, t_up, b):
    return h + lphm(lphm(h, A, s_down, t_down, c), A, s_up, t_up, b)


@wrong("compacter_adapter", "the skip leads around gelu alone? It leads around the whole adapter, from h to the result")
def adapter_skip_inside(h, A, s_down, t_down, c, s_up, t_up, b):
    z = lphm(h, A, s_down, t_down, c)
    return lphm(z + F.gelu(z), A, s_up, t_up, b)


@wrong("compacter_count", "A is n matrices of n by n: n^3 numbers")
def count_n_squared(layers, d, m, n, r, shared, norms):
    return 2 * layers * (2 * r + 1) * (d + m) + n**2 * (1 if shared else 4 * layers) + (2 * layers + 1) * 2 * d * norms


@wrong("compacter_count", "A is shared, it counts once in the whole model, not once for each matrix")
def count_never_shared(layers, d, m, n, r, shared, norms):
    return 2 * layers * (2 * r + 1) * (d + m) + n**3 * 4 * layers + (2 * layers + 1) * 2 * d * norms


@wrong("compacter_count", "without sharing every one of the 4 layers matrices has an A of its own")
def count_always_shared(layers, d, m, n, r, shared, norms):
    return 2 * layers * (2 * r + 1) * (d + m) + n**3 + (2 * layers + 1) * 2 * d * norms


@wrong("compacter_count", "without sharing there is an A for each matrix, not for each adapter: D and U have one each")
def count_shared_in_an_adapter(layers, d, m, n, r, shared, norms):
    return 2 * layers * (2 * r + 1) * (d + m) + n**3 * (1 if shared else 2 * layers) + (2 * layers + 1) * 2 * d * norms


@wrong("compacter_count", "the biases are missing: m in the layer down, d in the layer up")
def count_without_biases(layers, d, m, n, r, shared, norms):
    return 2 * layers * 2 * r * (d + m) + n**3 * (1 if shared else 4 * layers) + (2 * layers + 1) * 2 * d * norms


@wrong("compacter_count", "n times too many: s_i is (d_out / n, r), so n of them together are d_out r numbers")
def count_n_times(layers, d, m, n, r, shared, norms):
    own = 2 * n * r * (d + m) + d + m
    return 2 * layers * own + n**3 * (1 if shared else 4 * layers) + (2 * layers + 1) * 2 * d * norms


@wrong("compacter_count", "the norms are never counted: with norms=True they train too")
def count_never_norms(layers, d, m, n, r, shared, norms):
    return 2 * layers * (2 * r + 1) * (d + m) + n**3 * (1 if shared else 4 * layers)


@wrong("compacter_count", "the norms are always counted: with norms=False they stay frozen")
def count_always_norms(layers, d, m, n, r, shared, norms):
    return 2 * layers * (2 * r + 1) * (d + m) + n**3 * (1 if shared else 4 * layers) + (2 * layers + 1) * 2 * d


def gradients(G, s, t):
    """What each of the p weights adds: (p, n, n, n)."""
    p, n, o, _ = s.shape
    return torch.einsum("jaock, jiok -> jiac", G.reshape(p, n, o, n, -1), s @ t)


@wrong("compacter_shared_gradient", "the mean over the weights: gradients add up")
def gradient_mean(G, s, t):
    return gradients(G, s, t).mean(0)


@wrong("compacter_shared_gradient", "that is the last weight's share alone: add those of all p")
def gradient_of_last(G, s, t):
    return gradients(G, s, t)[-1]


@wrong("compacter_shared_gradient", "that is the first weight's share alone: add those of all p")
def gradient_of_first(G, s, t):
    return gradients(G, s, t)[0]


@wrong("compacter_shared_gradient", "a and c are exchanged: a is the block's row, c its column")
def gradient_transposed(G, s, t):
    return gradients(G, s, t).sum(0).transpose(1, 2)


@wrong("compacter_shared_gradient", "all s_ji t_ji are added up first: A_i meets only those with its own i")
def gradient_same_for_all(G, s, t):
    p, n, o, _ = s.shape
    one = torch.einsum("jaock, jok -> ac", G.reshape(p, n, o, n, -1), (s @ t).sum(1))
    return one.expand(n, n, n).clone()


@wrong("compacter_shared_gradient", "that cuts G for B (x) A: the o rows of a block stand together")
def gradient_other_order(G, s, t):
    p, n, o, _ = s.shape
    return torch.einsum("joakc, jiok -> iac", G.reshape(p, o, n, -1, n), s @ t)


@wrong("compacter_rank", "that is one term's rank: there are n terms")
def rank_of_a_term(d, m, n, r):
    return min(m, d, n * r)


@wrong("compacter_rank", "that is the rank of s_i t_i alone: A_i is (n, n), the ranks multiply, and the terms add")
def rank_of_a_factor(d, m, n, r):
    return r


@wrong("compacter_rank", "r is missing: n^2 is the answer for r = 1")
def rank_without_r(d, m, n, r):
    return min(m, d, n * n)


@wrong("compacter_rank", "the full rank, of an adapter's own matrix: this one is made of few numbers")
def rank_full(d, m, n, r):
    return min(m, d)


@wrong("compacter_rank", "more than the matrix has rows or columns: it can't be")
def rank_unbounded(d, m, n, r):
    return n * n * r


@wrong("compacter_rank", "more than the matrix has rows: d is not always the smaller side")
def rank_bounded_by_d(d, m, n, r):
    return min(d, n * n * r)


@wrong("compacter_rank", "more than the matrix has columns: m is not always the smaller side")
def rank_bounded_by_m(d, m, n, r):
    return min(m, n * n * r)
