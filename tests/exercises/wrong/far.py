"""Wrong answers to lesson 12's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch

from minipeft.course.exercise import wrong


def top(scores, share):
    return scores.topk(max(1, round(share * len(scores)))).indices.sort().values


@wrong("far_select", "the sum of the differences, not of their sizes: what moves up here and down there cancels")
def select_signed(W, W0, share):
    return top((W - W0).sum(1), share)


@wrong("far_select", "with squares one number that moved far counts for a whole row: the L1 norm is asked for")
def select_squares(W, W0, share):
    return top((W - W0).square().sum(1), share)


@wrong("far_select", "these are the largest rows; asked are those that moved most")
def select_magnitude(W, W0, share):
    return top(W.abs().sum(1), share)


@wrong("far_select", "these moved least")
def select_least(W, W0, share):
    return top(-(W - W0).abs().sum(1), share)


@wrong("far_select", "a node is a row of W (d_out, d_in), one output: here columns were summed up, which are inputs")
def select_columns(W, W0, share):
    return top((W - W0).abs().sum(0), share)


@wrong("far_select", "the right nodes, in the order of their movement: ascending numbers are asked for")
def select_unsorted(W, W0, share):
    return (W - W0).abs().sum(1).topk(max(1, round(share * len(W)))).indices


@wrong("far_select", "one too few: share * d_out is rounded to the nearest, int() cuts off")
def select_cut_off(W, W0, share):
    return (W - W0).abs().sum(1).topk(max(1, int(share * len(W)))).indices.sort().values


def halves(x, W_t, b_t, W_f, b_f):
    return torch.cat([x @ W_t.T + b_t, x @ W_f.T + b_f], -1)


def places(rows, n):
    return torch.cat([rows, torch.tensor([o for o in range(n) if o not in rows])])


@wrong("far_linear", "as in the survey: the outputs are not put back in order, and the next layer reads the wrong ones")
def linear_as_in_the_survey(x, W_t, b_t, W_f, b_f, rows):
    return halves(x, W_t, b_t, W_f, b_f)


@wrong("far_linear", "the permutation was applied once more, not undone: y[..., order.argsort()]")
def linear_forward_permutation(x, W_t, b_t, W_f, b_f, rows):
    y = halves(x, W_t, b_t, W_f, b_f)
    return y[..., places(rows, y.shape[-1])]


@wrong("far_linear", "the biases are missing: a node is its row and its number of the bias")
def linear_no_bias(x, W_t, b_t, W_f, b_f, rows):
    y = halves(x, W_t, 0 * b_t, W_f, 0 * b_f)
    return y[..., places(rows, y.shape[-1]).argsort()]


@wrong("far_linear", "the frozen nodes' outputs are missing: they are frozen, but they still compute")
def linear_learners_alone(x, W_t, b_t, W_f, b_f, rows):
    y = halves(x, W_t, b_t, 0 * W_f, 0 * b_f)
    return y[..., places(rows, y.shape[-1]).argsort()]


@wrong("far_linear", "learners and frozen nodes have changed places: `rows` are the learners'")
def linear_exchanged(x, W_t, b_t, W_f, b_f, rows):
    y = torch.cat([x @ W_f.T + b_f, x @ W_t.T + b_t], -1)
    return y[..., places(rows, y.shape[-1]).argsort()]


@wrong("far_linear", "the learners are detached: no gradient reaches them")
def linear_detached(x, W_t, b_t, W_f, b_f, rows):
    y = halves(x, W_t.detach(), b_t.detach(), W_f, b_f)
    return y[..., places(rows, y.shape[-1]).argsort()]


@wrong("far_step", "the code as it was given: with G = 0 all rows shrink, the frozen ones too")
def step_as_given(W, G, rows, lr, decay):
    mask = torch.zeros(len(W), 1).index_fill(0, rows, 1.0)
    return W - lr * (mask * G + decay * W)


@wrong("far_step", "now nothing decays: the learners should")
def step_no_decay(W, G, rows, lr, decay):
    mask = torch.zeros(len(W), 1).index_fill(0, rows, 1.0)
    return W - lr * mask * G


@wrong("far_step", "the other way round: these are the frozen rows that move")
def step_others(W, G, rows, lr, decay):
    mask = torch.ones(len(W), 1).index_fill(0, rows, 0.0)
    return W - lr * mask * (G + decay * W)


@wrong("far_step", "every row trains: without the mask this is full fine-tuning")
def step_everything(W, G, rows, lr, decay):
    return W - lr * (G + decay * W)


@wrong("far_step", "W was set to zero where it is frozen: the mask belongs to the step, not to W")
def step_masked_weight(W, G, rows, lr, decay):
    mask = torch.zeros(len(W), 1).index_fill(0, rows, 1.0)
    return mask * (W - lr * (G + decay * W))


def learners(d, f, share):
    return max(1, round(share * f)) * (d + 1) + max(1, round(share * d)) * (f + 1)


@wrong("far_count", "the learners alone: attention, norms and embeddings train as well, and are most of it")
def count_learners_alone(total, layers, d, f, share):
    return layers * learners(d, f, share)


@wrong("far_count", "the biases are missing: each node has one")
def count_no_bias(total, layers, d, f, share):
    rows = max(1, round(share * f)) * d + max(1, round(share * d)) * f
    return total + layers * (rows - 2 * d * f)


@wrong("far_count", "the share is of the MLPs' nodes, not of the whole model")
def count_share_of_all(total, layers, d, f, share):
    return round(share * total)


@wrong("far_count", "one layer: there are `layers` MLPs")
def count_one_layer(total, layers, d, f, share):
    return total + learners(d, f, share) - (f * (d + 1) + d * (f + 1))


@wrong("far_count", "the learners are added, but the MLPs they come from were not taken off the total")
def count_added(total, layers, d, f, share):
    return total + layers * learners(d, f, share)


@wrong("far_count", "rounded off: the number of learners is rounded to the nearest")
def count_cut_off(total, layers, d, f, share):
    rows = max(1, int(share * f)) * (d + 1) + max(1, int(share * d)) * (f + 1)
    return total + layers * (rows - (f * (d + 1) + d * (f + 1)))


@wrong("far_count", "that is how many are frozen")
def count_frozen(total, layers, d, f, share):
    return layers * (f * (d + 1) + d * (f + 1) - learners(d, f, share))


@wrong("far_rank", "without rewind priming has moved every row, and the change stays")
def rank_always_k(d_out, d_in, k, rewind):
    return min(k, d_in)


@wrong("far_rank", "with rewind the frozen rows of the change are zero: k at most")
def rank_always_full(d_out, d_in, k, rewind):
    return min(d_out, d_in)


@wrong("far_rank", "no matrix has a larger rank than its shorter side")
def rank_without_ceiling(d_out, d_in, k, rewind):
    return k if rewind else d_out
