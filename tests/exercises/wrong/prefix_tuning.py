"""Wrong answers to lesson 06's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch
import torch.nn.functional as F

from minipeft.course.exercise import wrong


def behind(P, x):
    return torch.cat([P.expand(len(x), -1, -1, -1), x], 2)


def seen(q, P):
    t, n = q.shape[2], P.shape[1]
    return torch.ones(t, n + t, dtype=torch.bool).tril(n)


@wrong(
    "prefix_attention",
    "the mask begins its triangle at the first slot, so token 0 sees one slot alone: it has to begin n columns later",
)
def attention_masks_the_prefix(q, k, v, P_k, P_v):
    return F.scaled_dot_product_attention(q, behind(P_k, k), behind(P_v, v), is_causal=True)


@wrong("prefix_attention", "tokens see the tokens that come after them: all may see the prefix, not the future")
def attention_sees_the_future(q, k, v, P_k, P_v):
    return F.scaled_dot_product_attention(q, behind(P_k, k), behind(P_v, v))


@wrong("prefix_attention", "that is the text alone: the prefix is missing")
def attention_without_prefix(q, k, v, P_k, P_v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@wrong("prefix_attention", "P_k and P_v are exchanged: queries meet the keys, and values are what they bring home")
def attention_exchanged(q, k, v, P_k, P_v):
    return attention_right(q, k, v, P_v, P_k)


@wrong("prefix_attention", "two softmaxes, added: the prefix should share one softmax with the text")
def attention_twice(q, k, v, P_k, P_v):
    text = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return text + F.scaled_dot_product_attention(q, P_k.expand(len(q), -1, -1, -1), P_v.expand(len(q), -1, -1, -1))


@wrong("prefix_attention", "1 / sqrt(e) is missing from the scores")
def attention_unscaled(q, k, v, P_k, P_v):
    return F.scaled_dot_product_attention(q, behind(P_k, k), behind(P_v, v), seen(q, P_k), scale=1.0)


@wrong("prefix_attention", "a token does not see itself: its own column belongs to the triangle")
def attention_not_itself(q, k, v, P_k, P_v):
    t, n = q.shape[2], P_k.shape[1]
    see = torch.ones(t, n + t, dtype=torch.bool).tril(n - 1)
    return F.scaled_dot_product_attention(q, behind(P_k, k), behind(P_v, v), see)


def attention_right(q, k, v, P_k, P_v):
    return F.scaled_dot_product_attention(q, behind(P_k, k), behind(P_v, v), seen(q, P_k))


def sums(q, k, P_k):
    e = q.shape[-1]
    return (q @ P_k.mT / e**0.5).exp().sum(-1), (q @ k.mT / e**0.5).exp().tril().sum(-1)


@wrong("prefix_share", "that is the text's share: 1 - share")
def share_of_text(q, k, P_k):
    learned, text = sums(q, k, P_k)
    return text / (learned + text)


@wrong("prefix_share", "that is prefix over text: below the line stands the sum over all keys, the prefix's included")
def share_as_ratio(q, k, P_k):
    learned, text = sums(q, k, P_k)
    return learned / text


@wrong("prefix_share", "tokens that come later are counted: token i's softmax holds the slots and the tokens 0 to i")
def share_without_mask(q, k, P_k):
    e = q.shape[-1]
    return torch.cat([q @ P_k.mT, q @ k.mT], -1).div(e**0.5).softmax(-1)[..., : P_k.shape[1]].sum(-1)


@wrong("prefix_share", "1 / sqrt(e) is missing from the scores")
def share_unscaled(q, k, P_k):
    return sums(q * q.shape[-1] ** 0.5, k, P_k)[0] / sum(sums(q * q.shape[-1] ** 0.5, k, P_k))


@wrong("prefix_share", "that is the share by number, n / (n + tokens seen): true only if all scores are equal")
def share_by_number(q, k, P_k):
    n = P_k.shape[1]
    return (n / (n + torch.arange(1.0, q.shape[2] + 1))).expand(q.shape[:3]).contiguous()


@wrong("prefix_share", "that is the mean of a slot's weight: the share is the sum over the n slots")
def share_mean(q, k, P_k):
    learned, text = sums(q, k, P_k)
    return learned / (learned + text) / P_k.shape[1]


def written(p, A, a, W, bias):
    return torch.tanh(p @ A.T + a) @ W.T + bias


def cut(x, h):
    return x.reshape(len(x), h, -1).transpose(0, 1)


@wrong("prefix_written", "the code as it was given: reshape mixes the slots, follow one row of `keys` through it")
def written_as_given(p, A, a, W, bias, h):
    return tuple(x.reshape(h, len(p), -1) for x in written(p, A, a, W, bias).chunk(2, 1))


@wrong("prefix_written", "keys and values are exchanged: the first half of what is written are the keys")
def written_exchanged(p, A, a, W, bias, h):
    values, keys = written(p, A, a, W, bias).chunk(2, 1)
    return cut(keys, h), cut(values, h)


@wrong("prefix_written", "a head's keys and values stand side by side here: all keys come first, then all values")
def written_interleaved(p, A, a, W, bias, h):
    return tuple(written(p, A, a, W, bias).reshape(len(p), h, 2, -1).permute(2, 1, 0, 3))


@wrong("prefix_written", "heads and slots are exchanged: (h, n, e) was asked for, this is (n, h, e)")
def written_slots_first(p, A, a, W, bias, h):
    return tuple(x.reshape(len(p), h, -1) for x in written(p, A, a, W, bias).chunk(2, 1))


@wrong("prefix_written", "the e numbers of a head lie h apart here: a row holds one head after the other, (n, h, e)")
def written_heads_last(p, A, a, W, bias, h):
    return tuple(x.reshape(len(p), -1, h).permute(2, 0, 1) for x in written(p, A, a, W, bias).chunk(2, 1))


@wrong("prefix_written", "the tanh was right where it was: the mistake is in the order of the numbers, not in them")
def written_without_tanh(p, A, a, W, bias, h):
    return tuple(cut(x, h) for x in ((p @ A.T + a) @ W.T + bias).chunk(2, 1))


def counted(layers, d, d_kv, n, m):
    return n * d + (m * d + m) + layers * (2 * d_kv * m + 2 * d_kv), layers * 2 * n * d_kv


@wrong("prefix_counts", "one layer's prefix is stored here: each layer has keys and values of its own")
def counts_shared(layers, d, d_kv, n, m):
    return counted(layers, d, d_kv, n, m)[0], 2 * n * d_kv


@wrong("prefix_counts", "keys or values, not both: a slot stores 2 d_kv numbers in each layer")
def counts_keys_alone(layers, d, d_kv, n, m):
    return counted(layers, d, d_kv, n, m)[0], layers * n * d_kv


@wrong("prefix_counts", "d for d_kv: keys and values are d_kv wide")
def counts_wide(layers, d, d_kv, n, m):
    return counted(layers, d, d, n, m)


@wrong("prefix_counts", "the two biases are missing in what trains: m numbers once, and 2 d_kv in each layer")
def counts_without_biases(layers, d, d_kv, n, m):
    return n * d + m * d + layers * 2 * d_kv * m, counted(layers, d, d_kv, n, m)[1]


@wrong("prefix_counts", "a whole network a layer: p, A and a are there once, for all layers")
def counts_networks(layers, d, d_kv, n, m):
    return layers * (n * d + m * d + m + 2 * d_kv * m + 2 * d_kv), counted(layers, d, d_kv, n, m)[1]


@wrong("prefix_counts", "p is missing in what trains: the network's input is learned too, n d numbers")
def counts_without_p(layers, d, d_kv, n, m):
    trained, stored = counted(layers, d, d_kv, n, m)
    return trained - n * d, stored


@wrong("prefix_counts", "in the other order: what trains first, then what is stored")
def counts_exchanged(layers, d, d_kv, n, m):
    return counted(layers, d, d_kv, n, m)[::-1]


@wrong("prefix_counts", "the network is stored too here: it is dropped, the keys and values it wrote are what stays")
def counts_kept_network(layers, d, d_kv, n, m):
    trained, stored = counted(layers, d, d_kv, n, m)
    return trained, trained + stored
