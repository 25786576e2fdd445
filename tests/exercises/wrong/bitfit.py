"""Wrong answers to lesson 10's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import math

import torch

from minipeft.course.exercise import wrong


@wrong("bitfit_backward", "the bias's gradient is averaged: a gradient is a sum, the loss has already averaged")
def backward_mean(G, W):
    return G.mean((0, 1)), G @ W


@wrong("bitfit_backward", "the bias's gradient is summed over the texts, but not over their tokens")
def backward_sum_of_texts(G, W):
    return G.sum(0), G @ W


@wrong("bitfit_backward", "the bias's gradient is summed over the tokens, but not over the texts")
def backward_sum_of_tokens(G, W):
    return G.sum(1), G @ W


@wrong("bitfit_backward", "the two are exchanged: the bias's gradient comes first, then the input's")
def backward_exchanged(G, W):
    return G @ W, G.sum((0, 1))


@wrong("bitfit_backward", "y = x W^T, so the gradient comes back through W itself: G @ W, not G @ W.T")
def backward_transposed(G, W):
    return G.sum((0, 1)), G @ W.T


@wrong("bitfit_backward", "W is frozen, but the gradient still has to travel through it to the layers below")
def backward_stops(G, W):
    return G.sum((0, 1)), torch.zeros(*G.shape[:2], W.shape[1])


@wrong("bitfit_key_shift", "1 / sqrt(e) stands before the whole score, so before b's part of it too")
def shift_unscaled(q, b):
    return q @ b


@wrong("bitfit_key_shift", "the scale is 1 / sqrt(e), not 1 / e")
def shift_by_width(q, b):
    return q @ b / q.shape[1]


@wrong("bitfit_key_shift", "the scale comes from the head's width e, q's second side, not from the number of tokens")
def shift_by_tokens(q, b):
    return q @ b / math.sqrt(q.shape[0])


@wrong("bitfit_key_shift", "before the softmax: what it then makes of the shift is the next question, not this one")
def shift_softmax(q, b):
    return torch.softmax(q @ b / math.sqrt(q.shape[1]), 0)


@wrong("bitfit_key_shift", "the product of q_i and b is a number: multiply and sum over e")
def shift_not_summed(q, b):
    return q * b / math.sqrt(q.shape[1])


@wrong("bitfit_fold", "u reaches the values as well, through W_v, and from there the output")
def fold_forgets_the_values(u, w, W_q, b_q, W_v, W_o, b_o):
    return b_q + W_q @ u, b_o + W_o @ w


@wrong("bitfit_fold", "u reaches the queries too: W_q u belongs to their bias")
def fold_forgets_the_queries(u, w, W_q, b_q, W_v, W_o, b_o):
    return b_q, b_o + W_o @ (W_v @ u + w)


@wrong("bitfit_fold", "the values' own move w is lost: it goes through W_o into the output's bias")
def fold_forgets_w(u, w, W_q, b_q, W_v, W_o, b_o):
    return b_q + W_q @ u, b_o + W_o @ W_v @ u


@wrong("bitfit_fold", "W_o is missing: what the values have more passes W_o before it reaches the output")
def fold_without_o(u, w, W_q, b_q, W_v, W_o, b_o):
    return b_q + W_q @ u, b_o + W_v @ u + w


@wrong("bitfit_fold", "w is added after W_v, not before: it is the bias of the values")
def fold_w_too_early(u, w, W_q, b_q, W_v, W_o, b_o):
    return b_q + W_q @ u, b_o + W_o @ W_v @ (u + w)


@wrong("bitfit_fold", "the weights are transposed: W is (d_out, d_in), and u a column here, so W @ u")
def fold_transposed(u, w, W_q, b_q, W_v, W_o, b_o):
    return b_q + u @ W_q, b_o + (u @ W_v + w) @ W_o


@wrong("bitfit_fold", "these are the moves alone: the biases that were there, b_q and b_o, are missing")
def fold_moves_alone(u, w, W_q, b_q, W_v, W_o, b_o):
    return W_q @ u, W_o @ (W_v @ u + w)


@wrong("bitfit_count", "the last norm, after all layers, has a bias too")
def count_without_last_norm(layers, d, d_kv, f):
    return layers * (5 * d + 2 * d_kv + f)


@wrong("bitfit_count", "the norms' biases train as well, two in each layer and one at the end")
def count_without_norms(layers, d, d_kv, f):
    return layers * (3 * d + 2 * d_kv + f)


@wrong("bitfit_count", "the norms' gains are frozen: of each norm only the bias trains")
def count_with_gains(layers, d, d_kv, f):
    return layers * (7 * d + 2 * d_kv + f) + 2 * d


@wrong("bitfit_count", "keys and values are d_kv wide, not d")
def count_square(layers, d, d_kv, f):
    return layers * (7 * d + f) + d


@wrong("bitfit_count", "a bias is as long as the output: that of `down` has d numbers, only that of `up` has f")
def count_f_twice(layers, d, d_kv, f):
    return layers * (4 * d + 2 * d_kv + 2 * f) + d


@wrong("bitfit_count", "there is one last norm, not one in each layer")
def count_last_norm_often(layers, d, d_kv, f):
    return layers * (6 * d + 2 * d_kv + f)


@wrong("bitfit_names", "the code as it was given: the word stands somewhere in the name, that is not enough")
def names_as_given(names):
    return [n for n in names if "bias" in n]


@wrong("bitfit_names", "a name that ends in the four letters: `debias` is not called `bias`")
def names_by_ending(names):
    return [n for n in names if n.endswith("bias")]


@wrong("bitfit_names", "a name may have no dot at all: the bias of a lone Linear is called `bias`")
def names_with_a_dot(names):
    return [n for n in names if n.endswith(".bias")]


@wrong("bitfit_names", "a part may be called `bias` too; what counts is the parameter, after the last dot")
def names_any_part(names):
    return [n for n in names if "bias" in n.split(".")]


@wrong("bitfit_names", "the biases of the norms are biases too")
def names_without_norms(names):
    return [n for n in names if n.split(".")[-1] == "bias" and "norm" not in n]


@wrong("bitfit_names", "a part whose name contains the word may still have a bias of its own: bias_gate.bias")
def names_once(names):
    return [n for n in names if n.split(".")[-1] == "bias" and n.count("bias") == 1]
