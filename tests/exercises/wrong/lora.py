"""Wrong answers to lesson 15's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import math

import torch

from minipeft.course.exercise import wrong


@wrong("lora_linear", "alpha / r scales the frozen path too: it belongs to the change alone")
def scales_everything(x, W, bias, A, B, alpha):
    return alpha / A.shape[0] * (x @ W.T + bias + x @ A.T @ B.T)


@wrong("lora_linear", "alpha / r is missing: the change is scaled")
def no_scale(x, W, bias, A, B, alpha):
    return x @ W.T + bias + x @ A.T @ B.T


@wrong("lora_linear", "the scale is alpha / r, not 1 / r: alpha is what keeps the change's size when r is varied")
def scale_without_alpha(x, W, bias, A, B, alpha):
    return x @ W.T + bias + x @ A.T @ B.T / A.shape[0]


@wrong("lora_linear", "the scale is alpha / r, not alpha: the rank is a side of A")
def scale_without_rank(x, W, bias, A, B, alpha):
    return x @ W.T + bias + alpha * (x @ A.T @ B.T)


@wrong("lora_linear", "the scale divides by a side of A that is not the rank: A is (r, d_in)")
def scale_by_width(x, W, bias, A, B, alpha):
    return x @ W.T + bias + alpha / A.shape[1] * (x @ A.T @ B.T)


@wrong("lora_linear", "the bias is missing")
def no_bias(x, W, bias, A, B, alpha):
    return x @ W.T + alpha / A.shape[0] * (x @ A.T @ B.T)


@wrong("lora_linear", "the frozen path is missing: LoRA stands beside W, not in its place")
def change_alone(x, W, bias, A, B, alpha):
    return alpha / A.shape[0] * (x @ A.T @ B.T)


@wrong("lora_linear", "W is (d_out, d_in): a row vector x meets its transpose, x @ W.T")
def not_transposed(x, W, bias, A, B, alpha):
    return x @ W + bias + alpha / A.shape[0] * (x @ A.T @ B.T)


@wrong("lora_init", "both are zero: then each one's gradient is zero too, and nothing ever learns")
def both_zero(d_out, d_in, r):
    return torch.zeros(r, d_in), torch.zeros(d_out, r)


@wrong("lora_init", "both are random: the change B A is then not zero, and training starts from a damaged model")
def both_random(d_out, d_in, r):
    bound = 1 / math.sqrt(d_in)
    return torch.empty(r, d_in).uniform_(-bound, bound), torch.empty(d_out, r).uniform_(-bound, bound)


@wrong(
    "lora_init", "A is zero and B random: the model starts as its base here too, but LoRA does it the other way round"
)
def the_other_zero(d_out, d_in, r):
    bound = 1 / math.sqrt(d_in)
    return torch.zeros(r, d_in), torch.empty(d_out, r).uniform_(-bound, bound)


@wrong(
    "lora_init", "the two are exchanged, in order or in shape: A (r, d_in) reads x and comes first, B (d_out, r) writes"
)
def transposed(d_out, d_in, r):
    return torch.empty(d_in, r).uniform_(-0.1, 0.1), torch.zeros(r, d_out)


@wrong("lora_init", "uniform from 0 on: every number of A has the same sign; use uniform_(-bound, bound)")
def one_sided(d_out, d_in, r):
    return torch.rand(r, d_in) / math.sqrt(d_in), torch.zeros(d_out, r)


@wrong("lora_init", "a constant A: all r rows stay equal in training, and the rank of the change stays 1")
def constant(d_out, d_in, r):
    return torch.ones(r, d_in) / math.sqrt(d_in), torch.zeros(d_out, r)


@wrong("lora_init", "the bound comes from what A reads, d_in numbers, not from the rank")
def bound_by_rank(d_out, d_in, r):
    bound = 1 / math.sqrt(r)
    return torch.empty(r, d_in).uniform_(-bound, bound), torch.zeros(d_out, r)


@wrong("lora_merged", "alpha / r is missing: the merged weight must do what the layer did")
def merged_no_scale(W, A, B, alpha):
    return W + B @ A


@wrong("lora_merged", "alpha / r scales W too: it belongs to the change alone")
def merged_scales_everything(W, A, B, alpha):
    return alpha / A.shape[0] * (W + B @ A)


@wrong("lora_merged", "the scale is there twice")
def merged_scale_twice(W, A, B, alpha):
    return W + (alpha / A.shape[0]) ** 2 * B @ A


@wrong("lora_merged", "that is the change alone: W itself is missing")
def merged_change_alone(W, A, B, alpha):
    return alpha / A.shape[0] * B @ A


@wrong("lora_merged", "W was changed in place: the base is shared, make a new tensor")
def merged_in_place(W, A, B, alpha):
    W += alpha / A.shape[0] * B @ A
    return W


@wrong("lora_merged", "that is (B A)^T, the shape of a weight stored the other way round: here W is (d_out, d_in)")
def merged_transposed(W, A, B, alpha):
    return (W + alpha / A.shape[0] * B @ A).T


@wrong("lora_merged", "the product is the other way round: B A, (d_out, r) times (r, d_in)")
def merged_a_times_b(W, A, B, alpha):
    return W + alpha / A.shape[0] * A @ B


@wrong("lora_count", "d_kv for d: the values' weight is (d_kv, d), so its B is narrower")
def count_square(layers, d, d_kv, r):
    return layers * r * 4 * d


@wrong("lora_count", "one layer: there are `layers` of them")
def count_one_layer(layers, d, d_kv, r):
    return r * (2 * d + d + d_kv)


@wrong("lora_count", "that is how many numbers change when merged, not how many train")
def count_changed(layers, d, d_kv, r):
    return layers * (d * d + d * d_kv)


@wrong("lora_count", "the values' A reads the residual stream, d numbers, and B writes d_kv: r (d + d_kv)")
def count_narrow_values(layers, d, d_kv, r):
    return layers * r * (2 * d + 2 * d_kv)


@wrong("lora_count", "A is counted, B is not")
def count_a_alone(layers, d, d_kv, r):
    return layers * r * 2 * d


@wrong("lora_gradients", "the code as it was given: compare both gradients with autograd's, and look at the factor")
def gradients_as_given(x, G, A, B, alpha):
    return alpha / A.shape[0] * (G @ B).T @ x, G.T @ (x @ A.T)


@wrong("lora_gradients", "dB was scaled twice: s stands in y once, so it stands in each gradient once")
def gradients_scaled_twice(x, G, A, B, alpha):
    s = alpha / A.shape[0]
    return s * (G @ B).T @ x, s * s * G.T @ (x @ A.T)


@wrong("lora_gradients", "now both are without s: the mistake was that one of them had lost it")
def gradients_unscaled(x, G, A, B, alpha):
    return (G @ B).T @ x, G.T @ (x @ A.T)


@wrong("lora_gradients", "s is alpha / r; one gradient now has 1 / r or alpha alone")
def gradients_scaled_by_alpha(x, G, A, B, alpha):
    return alpha / A.shape[0] * (G @ B).T @ x, alpha * G.T @ (x @ A.T)


@wrong("lora_gradients", "this is the mean over the n inputs: a gradient is the sum, the loss has already averaged")
def gradients_mean(x, G, A, B, alpha):
    s, n = alpha / A.shape[0], len(x)
    return s * (G @ B).T @ x / n, s * G.T @ (x @ A.T) / n


@wrong("lora_rank", "no matrix has a larger rank than its shorter side")
def rank_without_ceiling(rounds, r, d_out, d_in):
    return rounds * r


@wrong("lora_rank", "that is one round: the next one's factors are new, and ranks add up")
def rank_of_one_round(rounds, r, d_out, d_in):
    return min(r, d_out, d_in)


@wrong("lora_rank", "a full rank takes enough rounds: each one adds r at most")
def rank_full(rounds, r, d_out, d_in):
    return min(d_out, d_in)


@wrong("lora_rank", "the shorter side is the limit, not the longer one")
def rank_longer_side(rounds, r, d_out, d_in):
    return min(rounds * r, max(d_out, d_in))
