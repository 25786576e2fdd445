"""Wrong answers to lesson 09's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch
import torch.nn.functional as F

from minipeft.course.exercise import wrong


@wrong("ia3_mlp", "the gate is scaled before its activation: silu(l g) is not l silu(g), and it does not fold")
def mlp_before_activation(x, W_gate, W_up, W_down, l_ff):
    return (F.silu(l_ff * (x @ W_gate.T)) * (x @ W_up.T)) @ W_down.T


@wrong("ia3_mlp", "the scale is there twice, for the gate's side and for up's: it belongs to their product, once")
def mlp_twice(x, W_gate, W_up, W_down, l_ff):
    return (l_ff * F.silu(x @ W_gate.T) * l_ff * (x @ W_up.T)) @ W_down.T


@wrong("ia3_mlp", "the scales start at one: l multiplies, it is not 1 + l")
def mlp_one_plus(x, W_gate, W_up, W_down, l_ff):
    return ((1 + l_ff) * F.silu(x @ W_gate.T) * (x @ W_up.T)) @ W_down.T


@wrong("ia3_mlp", "l_ff is added: that would be a bias; it multiplies")
def mlp_added(x, W_gate, W_up, W_down, l_ff):
    return (l_ff + F.silu(x @ W_gate.T) * (x @ W_up.T)) @ W_down.T


@wrong("ia3_mlp", "the scale is missing: that is the plain MLP")
def mlp_plain(x, W_gate, W_up, W_down, l_ff):
    return (F.silu(x @ W_gate.T) * (x @ W_up.T)) @ W_down.T


@wrong("ia3_mlp", "the activation stands at the gate's side, not at up's")
def mlp_exchanged(x, W_gate, W_up, W_down, l_ff):
    return (l_ff * (x @ W_gate.T) * F.silu(x @ W_up.T)) @ W_down.T


@wrong("ia3_mlp", "the hidden layer is f wide, the output d: what comes out of W_down can't be scaled by l_ff")
def mlp_after_down(x, W_gate, W_up, W_down, l_ff):
    return l_ff * ((F.silu(x @ W_gate.T) * (x @ W_up.T)) @ W_down.T)


@wrong("ia3_merged", "the bias of the keys is scaled too: l (W x + b) = l W x + l b")
def merged_bias_left(W_k, b_k, l_k, W_down, l_ff):
    return l_k[:, None] * W_k, b_k, W_down * l_ff


@wrong("ia3_merged", "l_k scales what comes out of W_k, so its rows: l_k[:, None]")
def merged_columns_of_keys(W_k, b_k, l_k, W_down, l_ff):
    return W_k * l_k, l_k * b_k, W_down * l_ff


@wrong("ia3_merged", "l_ff scales what goes into W_down, so its columns")
def merged_rows_of_down(W_k, b_k, l_k, W_down, l_ff):
    return l_k[:, None] * W_k, l_k * b_k, l_ff[:, None] * W_down


@wrong("ia3_merged", "l_ff folds as well: it is a scale of W_down's columns, whatever the survey says")
def merged_without_down(W_k, b_k, l_k, W_down, l_ff):
    return l_k[:, None] * W_k, l_k * b_k, W_down


@wrong("ia3_merged", "the weights were changed in place: others share them, make new ones")
def merged_in_place(W_k, b_k, l_k, W_down, l_ff):
    W_k *= l_k[:, None]
    b_k *= l_k
    W_down *= l_ff
    return W_k, b_k, W_down


@wrong("ia3_merged", "the scales are not 1 + l: they start at one and multiply as they are")
def merged_one_plus(W_k, b_k, l_k, W_down, l_ff):
    return (1 + l_k)[:, None] * W_k, (1 + l_k) * b_k, W_down * (1 + l_ff)


@wrong("ia3_mixed", "every text gets the first task's scales")
def mixed_first(x, W, bias, scales, task):
    return scales[0] * (x @ W.T + bias)


@wrong("ia3_mixed", "the scales of all texts are averaged: each text has its own")
def mixed_mean(x, W, bias, scales, task):
    return scales[torch.tensor(task)].mean(0) * (x @ W.T + bias)


@wrong("ia3_mixed", "the bias is added after the scale: l multiplies all that the Linear gives")
def mixed_bias_outside(x, W, bias, scales, task):
    return scales[torch.tensor(task)][:, None] * (x @ W.T) + bias


@wrong("ia3_mixed", "(b, d_out) meets (b, t, d_out): the tokens' side is missing, [:, None] puts it in")
def mixed_no_tokens(x, W, bias, scales, task):
    return scales[torch.tensor(task)] * (x @ W.T + bias)


@wrong("ia3_mixed", "text i has the scales of task i, where it should be the task that the list names")
def mixed_by_position(x, W, bias, scales, task):
    return scales[torch.arange(len(x)) % len(scales)][:, None] * (x @ W.T + bias)


@wrong("ia3_counts", "one layer: there are `layers` of them")
def counts_one_layer(layers, d, d_kv, f):
    return 2 * d_kv + f, 2 * d_kv * d + d * f, d


@wrong("ia3_counts", "keys and values are d_kv wide, not d")
def counts_square(layers, d, d_kv, f):
    return layers * (2 * d + f), layers * (2 * d * d + d * f), d


@wrong("ia3_counts", "the queries are not scaled: what multiplies a key could as well multiply the query")
def counts_with_queries(layers, d, d_kv, f):
    return layers * (d + 2 * d_kv + f), layers * (d * d + 2 * d_kv * d + d * f), d


@wrong("ia3_counts", "as many change as train: but each scale changes a whole row or column")
def counts_changed_as_trained(layers, d, d_kv, f):
    return layers * (2 * d_kv + f), layers * (2 * d_kv + f), d


@wrong("ia3_counts", "rank 1? diag(l - 1) W has as many independent rows as W, unless a scale stays at one")
def counts_rank_one(layers, d, d_kv, f):
    return layers * (2 * d_kv + f), layers * (2 * d_kv * d + d * f), 1


@wrong("ia3_counts", "the rank of W_k's change is d_kv; the largest rank is that of the larger W_down's")
def counts_rank_of_keys(layers, d, d_kv, f):
    return layers * (2 * d_kv + f), layers * (2 * d_kv * d + d * f), d_kv


@wrong("ia3_counts", "no matrix has a larger rank than its shorter side: W_down is (d, f) with f > d")
def counts_rank_of_hidden(layers, d, d_kv, f):
    return layers * (2 * d_kv + f), layers * (2 * d_kv * d + d * f), f
