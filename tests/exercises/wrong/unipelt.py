"""Wrong answers to lesson 20's exercises, and the hint that each earns."""

import torch

from minipeft.course.exercise import wrong


def gate(x, w, c):
    return (x @ w + c).sigmoid()[..., None]


@wrong("gated_lora", "the gate multiplies the frozen path too: it belongs to LoRA alone")
def gates_everything(x, W, A, B, w, c):
    return gate(x, w, c) * (x @ W.T + x @ A.T @ B.T)


@wrong("gated_lora", "the gate is missing")
def no_gate(x, W, A, B, w, c):
    return x @ W.T + x @ A.T @ B.T


@wrong("gated_lora", "the sigmoid is missing: a gate lies between 0 and 1")
def no_sigmoid(x, W, A, B, w, c):
    return x @ W.T + (x @ w + c)[..., None] * (x @ A.T @ B.T)


@wrong("gated_lora", "c is missing in the gate")
def no_offset(x, W, A, B, w, c):
    return x @ W.T + gate(x, w, 0.0) * (x @ A.T @ B.T)


@wrong("gated_lora", "this is one gate for a whole text, the mean over its tokens: here each token has its own")
def gate_of_the_text(x, W, A, B, w, c):
    return x @ W.T + gate(x, w, c).mean(1, keepdim=True) * (x @ A.T @ B.T)


@wrong("gated_lora", "LoRA's 1 / r is there beside the gate, which has taken its place")
def gate_and_scale(x, W, A, B, w, c):
    return x @ W.T + gate(x, w, c) / A.shape[0] * (x @ A.T @ B.T)


@wrong("gated_lora", "the gate is the wrong way round: 1 is open, 0 is shut")
def gate_inverted(x, W, A, B, w, c):
    return x @ W.T + (1 - gate(x, w, c)) * (x @ A.T @ B.T)


@wrong("gated_lora", "the frozen path is missing")
def branch_alone(x, W, A, B, w, c):
    return gate(x, w, c) * (x @ A.T @ B.T)


@wrong("causal_gate", "the code as it was given: token 0's gate is a mean over tokens that come later")
def gate_as_given(x, w, c):
    g = (x @ w + c).sigmoid()
    return g.mean(1, keepdim=True).expand_as(g)[..., None]


@wrong("causal_gate", "this is the sigmoid of a mean: the gate is the mean of sigmoids")
def gate_sigmoid_of_mean(x, w, c):
    return ((x @ w + c).cumsum(1) / torch.arange(1, x.shape[1] + 1)).sigmoid()[..., None]


@wrong("causal_gate", "every token has its own gate here, which is causal as well, but the mean is missing")
def gate_of_the_token(x, w, c):
    return (x @ w + c).sigmoid()[..., None]


@wrong("causal_gate", "the sum is right, but it is divided by t everywhere: token i's holds i + 1 tokens")
def gate_over_t(x, w, c):
    return ((x @ w + c).sigmoid().cumsum(1) / x.shape[1])[..., None]


@wrong("causal_gate", "the sum over the tokens so far is not yet divided by their number")
def gate_not_divided(x, w, c):
    return (x @ w + c).sigmoid().cumsum(1)[..., None]


@wrong("causal_gate", "this mean goes over a token and those after it: the other way")
def gate_of_the_future(x, w, c):
    g = (x @ w + c).sigmoid().flip(1)
    return (g.cumsum(1) / torch.arange(1, x.shape[1] + 1)).flip(1)[..., None]


def attention(q, k, v, P_k, P_v, on_keys, on_values, causal=True, scaled=True):
    """With gates (t,) on the learned keys and on the learned values."""
    (t, e), n = q.shape, len(P_k)
    see = torch.ones(t, t, dtype=torch.bool)
    own = (q @ k.T).masked_fill(~see.tril() if causal else ~see, -torch.inf)
    scores = torch.cat([on_keys[:, None] * (q @ P_k.T), own], 1)
    weights = (scores / e**0.5 if scaled else scores).softmax(1)
    return on_values[:, None] * (weights[:, :n] @ P_v) + weights[:, n:] @ v


@wrong("gated_prefix", "the gate is missing at the keys: g_i P_k, before the softmax")
def values_alone(q, k, v, P_k, P_v, g):
    return attention(q, k, v, P_k, P_v, torch.ones_like(g), g)


@wrong("gated_prefix", "the gate is missing at the values: g_i P_v, after the softmax")
def keys_alone(q, k, v, P_k, P_v, g):
    return attention(q, k, v, P_k, P_v, g, torch.ones_like(g))


@wrong("gated_prefix", "the gate is missing")
def ungated(q, k, v, P_k, P_v, g):
    return attention(q, k, v, P_k, P_v, torch.ones_like(g), torch.ones_like(g))


@wrong("gated_prefix", "the gates of all tokens are averaged: token i uses g_i, and knows nothing of later tokens")
def one_gate(q, k, v, P_k, P_v, g):
    mean = g.mean().expand_as(g)
    return attention(q, k, v, P_k, P_v, mean, mean)


@wrong("gated_prefix", "every token sees the whole text here: token i may look at the keys 0 to i only")
def not_causal(q, k, v, P_k, P_v, g):
    return attention(q, k, v, P_k, P_v, g, g, causal=False)


@wrong("gated_prefix", "the scores are not divided by sqrt(e)")
def unscaled(q, k, v, P_k, P_v, g):
    return attention(q, k, v, P_k, P_v, g, g, scaled=False)


@wrong("gated_prefix", "the text's part is multiplied by the gate too: it stays as it is")
def gates_the_text(q, k, v, P_k, P_v, g):
    return g[:, None] * attention(q, k, v, P_k, P_v, g, torch.ones_like(g))


@wrong("gated_prefix", "two softmaxes, added: there is one, over the learned keys and the text together")
def two_softmaxes(q, k, v, P_k, P_v, g):
    t, e = q.shape
    see = torch.ones(t, t, dtype=torch.bool).tril()
    own = (q @ k.T / e**0.5).masked_fill(~see, -torch.inf).softmax(1) @ v
    return own + g[:, None] * ((g[:, None] * (q @ P_k.T) / e**0.5).softmax(1) @ P_v)


@wrong("shut_prefix", "a prefix of zeros is not no prefix: its keys still take a share of the softmax")
def shut_is_gone(scores, n):
    return 1.0


@wrong("shut_prefix", "that is the prefix's share: the text has what is left of 1")
def shut_share_of_the_prefix(scores, n):
    return float(n / (n + scores.exp().sum()))


@wrong("shut_prefix", "that counts keys: a key weighs exp(score), and only the learned ones are sure to weigh 1")
def shut_counted(scores, n):
    return len(scores) / (n + len(scores))


@wrong("shut_prefix", "one learned key instead of n")
def shut_one_key(scores, n):
    text = float(scores.exp().sum())
    return text / (text + 1)


@wrong("shut_prefix", "a shut gate makes the score 0, not the weight: exp(0) is 1, and the text keeps its own share")
def shut_nothing(scores, n):
    return 0.0


@wrong("shut_prefix", "the scores are not yet weights: take exp of them first")
def shut_no_exp(scores, n):
    return float(scores.sum() / (scores.sum() + n))


def layer(d, d_kv, n, r, m):
    """One layer without its gates."""
    return 2 * n * d_kv + r * (3 * d + d_kv) + 2 * d * m + m + d


@wrong("unipelt_counts", "the gates are missing in the first count: they are kept too")
def counts_without_gates(layers, d, d_kv, n, r, m):
    return layers * layer(d, d_kv, n, r, m), layers * 4 * (d + 1)


@wrong("unipelt_counts", "three gates a layer, one for each kind of part: here the two LoRAs have one each")
def counts_three_gates(layers, d, d_kv, n, r, m):
    return layers * (layer(d, d_kv, n, r, m) + 3 * (d + 1)), layers * 3 * (d + 1)


@wrong("unipelt_counts", "a gate has d + 1 numbers: c is missing")
def counts_gates_without_c(layers, d, d_kv, n, r, m):
    return layers * (layer(d, d_kv, n, r, m) + 4 * d), layers * 4 * d


@wrong("unipelt_counts", "keys and values are d_kv wide, not d: heads may share them")
def counts_wide(layers, d, d_kv, n, r, m):
    return layers * (layer(d, d, n, r, m) + 4 * (d + 1)), layers * 4 * (d + 1)


@wrong("unipelt_counts", "one LoRA instead of two: beside the queries' weight and beside the values'")
def counts_one_lora(layers, d, d_kv, n, r, m):
    return layers * (layer(d, d_kv, n, r, m) - r * (d + d_kv) + 4 * (d + 1)), layers * 4 * (d + 1)


@wrong("unipelt_counts", "the adapter's biases are missing: m + d numbers")
def counts_no_biases(layers, d, d_kv, n, r, m):
    return layers * (layer(d, d_kv, n, r, m) - m - d + 4 * (d + 1)), layers * 4 * (d + 1)


@wrong("unipelt_counts", "keys without values: the prefix has n of each")
def counts_keys_alone(layers, d, d_kv, n, r, m):
    return layers * (layer(d, d_kv, n, r, m) - n * d_kv + 4 * (d + 1)), layers * 4 * (d + 1)
