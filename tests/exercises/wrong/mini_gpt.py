"""Wrong answers to lesson 01's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import math

import torch

from minipeft.course.exercise import wrong


def masked(scores, diagonal=1, value=-math.inf):
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(diagonal)
    return scores.masked_fill(later, value)


def scores(q, k):
    return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])


# -- 01.1 -------------------------------------------------------------------------------------------------------------


@wrong("attention", "the scores are not divided by sqrt(e): the softmax is too sharp")
def unscaled(q, k, v):
    return masked(q @ k.transpose(-1, -2)).softmax(-1) @ v


@wrong("attention", "there is no mask: every token sees the whole text, also what comes after it")
def unmasked(q, k, v):
    return scores(q, k).softmax(-1) @ v


@wrong("attention", "the mask is one too wide: token i sees token i + 1, the very one it is to predict")
def sees_the_next(q, k, v):
    return masked(scores(q, k), 2).softmax(-1) @ v


@wrong("attention", "the mask hides the diagonal: a token sees itself, or the first one has nothing to see (nan)")
def blind_to_itself(q, k, v):
    return masked(scores(q, k), 0).softmax(-1) @ v


@wrong("attention", "the mask is upside down: below the diagonal is what may be seen, hide what is above it")
def sees_the_future(q, k, v):
    t = q.shape[1]
    return scores(q, k).masked_fill(torch.ones(t, t, dtype=torch.bool).tril(), -math.inf).softmax(-1) @ v


@wrong("attention", "hidden scores are set to 0, which is a score like any other: minus infinity gives a weight of 0")
def masked_with_zero(q, k, v):
    return masked(scores(q, k), value=0.0).softmax(-1) @ v


@wrong("attention", "the mask comes after the softmax: what is left of each row no longer adds up to 1")
def masked_afterwards(q, k, v):
    return scores(q, k).softmax(-1).tril() @ v


@wrong("attention", "the softmax runs over the queries: the weights of one query's keys must add up to 1, so dim=-1")
def softmax_over_queries(q, k, v):
    return masked(scores(q, k)).softmax(-2) @ v


# -- 01.2 -------------------------------------------------------------------------------------------------------------


def root_mean_square(x, eps, dim=-1):
    return (x.square().mean(dim, keepdim=True) + eps).sqrt()


@wrong("rms_norm", "the mean is subtracted, as in LayerNorm: RMSNorm leaves it where it is")
def centred(x, gain, eps):
    x = x - x.mean(-1, keepdim=True)
    return x / root_mean_square(x, eps) * gain


@wrong("rms_norm", "that is the standard deviation, spread around the mean: RMSNorm takes the mean of x^2 itself")
def standard_deviation(x, gain, eps):
    return x / (x.var(-1, keepdim=True, correction=0) + eps).sqrt() * gain


@wrong("rms_norm", "eps stands outside the root: it is added to the mean square, before the root is taken")
def eps_outside(x, gain, eps):
    return x / (x.square().mean(-1, keepdim=True).sqrt() + eps) * gain


@wrong("rms_norm", "the root is missing: x is divided by the mean square itself")
def no_root(x, gain, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps) * gain


@wrong("rms_norm", "the sum of squares, not their mean: the result would shrink as the model gets wider")
def sum_of_squares(x, gain, eps):
    return x / (x.square().sum(-1, keepdim=True) + eps).sqrt() * gain


@wrong("rms_norm", "the mean runs over the tokens: each token is normalised alone, over its own d numbers")
def over_tokens(x, gain, eps):
    return x / root_mean_square(x, eps, dim=1) * gain


@wrong("rms_norm", "one mean for the whole batch: each token is normalised alone, over its own d numbers")
def over_everything(x, gain, eps):
    return x / (x.square().mean() + eps).sqrt() * gain


@wrong("rms_norm", "the gain is missing")
def no_gain(x, gain, eps):
    return x / root_mean_square(x, eps)


# -- 01.3 -------------------------------------------------------------------------------------------------------------


def turned(x, positions, speed):
    angle = positions[:, None] * speed
    left, right = x.chunk(2, -1)
    return torch.cat([left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos()], -1)


def where(x, start):
    return torch.arange(start, start + x.shape[1])


def speeds(x, base):
    return base ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])


@wrong("rotate", "the start is ignored: token n stands at position start + n")
def from_zero(x, start, base):
    return turned(x, where(x, 0), speeds(x, base))


@wrong("rotate", "all positions are one too far: the first token of x stands at `start` itself")
def shifted(x, start, base):
    return turned(x, where(x, start + 1), speeds(x, base))


@wrong("rotate", "the rotation goes the wrong way round: look at the signs of the two sines")
def clockwise(x, start, base):
    return turned(x, -where(x, start), speeds(x, base))


@wrong("rotate", "the pairs are neighbours, 2 i and 2 i + 1: here pair i are the numbers i and i + e/2")
def neighbours(x, start, base):
    apart = torch.cat([x[..., ::2], x[..., 1::2]], -1)
    left, right = turned(apart, where(x, start), speeds(x, base)).chunk(2, -1)
    return torch.stack([left, right], -1).flatten(-2)


@wrong("rotate", "the exponent is -i / e, and should be -2 i / e: the slowest pair turns at about 1 / base")
def half_the_exponent(x, start, base):
    return turned(x, where(x, start), speeds(x, base).sqrt())


@wrong("rotate", "the exponent's sign is missing: pair 0 turns fastest, and all others slower")
def ever_faster(x, start, base):
    return turned(x, where(x, start), 1 / speeds(x, base))


@wrong("rotate", "every pair turns at the same speed: the speed is base^(-2 i / e), another one for each pair i")
def one_speed(x, start, base):
    return turned(x, where(x, start), torch.ones(x.shape[-1] // 2))


@wrong("rotate", "both halves of the result have the same sign before the sine: one is -, the other +")
def both_plus(x, start, base):
    angle = where(x, start)[:, None] * speeds(x, base)
    left, right = x.chunk(2, -1)
    return torch.cat([left * angle.cos() + right * angle.sin(), left * angle.sin() + right * angle.cos()], -1)


# -- 01.4 -------------------------------------------------------------------------------------------------------------


def joined(past_k, past_v, k, v):
    return torch.cat([past_k, k], 1), torch.cat([past_v, v], 1)


@wrong("attention_with_past", "the mask is aligned to the left: the first new token sees the first key only")
def aligned_left(q, k, v, past_k, past_v):
    k, v = joined(past_k, past_v, k, v)
    return masked(scores(q, k)).softmax(-1) @ v, k, v


@wrong("attention_with_past", "there is no mask: the new tokens see those after them")
def past_unmasked(q, k, v, past_k, past_v):
    k, v = joined(past_k, past_v, k, v)
    return scores(q, k).softmax(-1) @ v, k, v


@wrong("attention_with_past", "the mask hides one key too many: a new token sees itself too")
def past_blind_to_itself(q, k, v, past_k, past_v):
    k, v = joined(past_k, past_v, k, v)
    return masked(scores(q, k), past_k.shape[1]).softmax(-1) @ v, k, v


@wrong("attention_with_past", "the mask hides one key too few: each new token sees the one after it")
def past_sees_the_next(q, k, v, past_k, past_v):
    k, v = joined(past_k, past_v, k, v)
    return masked(scores(q, k), past_k.shape[1] + 2).softmax(-1) @ v, k, v


@wrong("attention_with_past", "the new keys and values stand before the past: the past comes first")
def past_last(q, k, v, past_k, past_v):
    t = q.shape[1]
    k, v = joined(k, v, past_k, past_v)
    hidden = torch.cat([torch.ones(t, t).triu(1), torch.zeros(t, past_k.shape[1])], 1).bool()
    return scores(q, k).masked_fill(hidden, -math.inf).softmax(-1) @ v, k, v


@wrong("attention_with_past", "the past is kept, but not looked at: the new tokens see only each other")
def past_unseen(q, k, v, past_k, past_v):
    return masked(scores(q, k)).softmax(-1) @ v, *joined(past_k, past_v, k, v)


@wrong("attention_with_past", "what is to be kept is all keys and values so far, (b, p + t, e), not the new ones alone")
def new_ones_kept(q, k, v, past_k, past_v):
    all_k, all_v = joined(past_k, past_v, k, v)
    return masked(scores(q, all_k), past_k.shape[1] + 1).softmax(-1) @ all_v, k, v


@wrong("attention_with_past", "the scores are not divided by sqrt(e)")
def past_unscaled(q, k, v, past_k, past_v):
    k, v = joined(past_k, past_v, k, v)
    return masked(q @ k.transpose(-1, -2), past_k.shape[1] + 1).softmax(-1) @ v, k, v


# -- 01.5 -------------------------------------------------------------------------------------------------------------


def counted(style, v, context, layers, d, f, d_kv, *, biases=1, positions=1, last=1, heads=0, norms=None):
    gpt2 = style == "gpt2"
    norm = norms or (2 * d if gpt2 else d)
    block = 2 * d * d + 2 * d * d_kv + (2 if gpt2 else 3) * d * f + 2 * norm
    block += biases * gpt2 * (2 * d + 2 * d_kv + f + d)
    head = (heads if gpt2 else 1 - heads) * v * d
    return v * d + positions * gpt2 * context * d + layers * block + last * norm + head


@wrong("parameter_count", "GPT-2's head is counted as a matrix of its own: it is the token embedding, used once more")
def untied(style, *sizes):
    return counted(style, *sizes, heads=1) if style == "gpt2" else counted(style, *sizes)


@wrong("parameter_count", "LLaMA's head is missing: it is a matrix of its own, (v, d)")
def headless(style, *sizes):
    return counted(style, *sizes) if style == "gpt2" else counted(style, *sizes, heads=1)


@wrong("parameter_count", "the biases of GPT-2's Linears are missing: as many as each has outputs")
def no_biases(style, *sizes):
    return counted(style, *sizes, biases=0)


@wrong("parameter_count", "GPT-2's learned positions are missing: `context` vectors of d numbers")
def no_positions(style, *sizes):
    return counted(style, *sizes, positions=0)


@wrong("parameter_count", "the last norm, between the blocks and the head, is missing")
def no_last_norm(style, *sizes):
    return counted(style, *sizes, last=0)


@wrong("parameter_count", "a norm of GPT-2 has a bias beside its gain: 2 d numbers")
def norms_without_bias(style, v, context, layers, d, f, d_kv):
    return counted(style, v, context, layers, d, f, d_kv, norms=d)


@wrong("parameter_count", "an RMSNorm has a gain alone: d numbers, no bias")
def norms_with_bias(style, v, context, layers, d, f, d_kv):
    return counted(style, v, context, layers, d, f, d_kv, norms=2 * d)


@wrong("parameter_count", "keys and values are d_kv wide, not d: their weights are (d_kv, d)")
def wide_values(style, v, context, layers, d, f, d_kv):
    return counted(style, v, context, layers, d, f, d)


# -- 01.6 -------------------------------------------------------------------------------------------------------------


@wrong("tokens_computed", "the last new token is not put through the blocks any more: nothing is asked after it")
def one_step_too_many(p, n):
    return (n + 1) * p + n * (n + 1) // 2, p + n


@wrong("tokens_computed", "with a cache: the last new token is not put through the blocks, nothing is asked after it")
def last_one_cached(p, n):
    return n * p + n * (n - 1) // 2, p + n


@wrong("tokens_computed", "with a cache, the prompt goes through the blocks too, once")
def prompt_free(p, n):
    return n * p + n * (n - 1) // 2, n


@wrong("tokens_computed", "without a cache the text grows: the steps compute p, p + 1, p + 2, ... tokens")
def never_grows(p, n):
    return n * p, p + n - 1


@wrong("tokens_computed", "the first step already gives a new token, from the p tokens of the prompt alone")
def starts_late(p, n):
    return n * p + n * (n + 1) // 2, p + n - 1


@wrong("tokens_computed", "the two are exchanged: first without a cache, then with one")
def exchanged(p, n):
    return p + n - 1, n * p + n * (n - 1) // 2
