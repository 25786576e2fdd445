"""Wrong answers to lesson 19's exercises, and the hint that each earns."""

import torch

from minipeft.course.exercise import wrong


@wrong("parallel_adapter", "the adapter reads n, what the MLP reads: it should read the stream u, before the norm")
def reads_the_normalised(u, n, mlp, D, c, U, b, s):
    return u + mlp + s * ((n @ D.T + c).relu() @ U.T + b)


@wrong("parallel_adapter", "the adapter reads the MLP's output: so it stands behind the MLP, not beside it")
def stands_behind(u, n, mlp, D, c, U, b, s):
    return u + mlp + s * ((mlp @ D.T + c).relu() @ U.T + b)


@wrong("parallel_adapter", "s scales the MLP too: it belongs to the adapter alone")
def scales_the_mlp(u, n, mlp, D, c, U, b, s):
    return u + s * (mlp + (u @ D.T + c).relu() @ U.T + b)


@wrong(
    "parallel_adapter",
    "s scales what the adapter reads: it belongs to what comes out (with c = b = 0 nobody would see it)",
)
def scales_the_input(u, n, mlp, D, c, U, b, s):
    return u + mlp + (s * u @ D.T + c).relu() @ U.T + b


@wrong("parallel_adapter", "s scales all of the adapter's output, its bias b too")
def leaves_the_bias(u, n, mlp, D, c, U, b, s):
    return u + mlp + s * ((u @ D.T + c).relu() @ U.T) + b


@wrong("parallel_adapter", "s is missing: the adapter's output is scaled")
def no_scale(u, n, mlp, D, c, U, b, s):
    return u + mlp + (u @ D.T + c).relu() @ U.T + b


@wrong("parallel_adapter", "u is there s times too often: an adapter beside the MLP has no skip of its own")
def own_skip(u, n, mlp, D, c, U, b, s):
    return u + mlp + s * (u + (u @ D.T + c).relu() @ U.T + b)


@wrong("parallel_adapter", "the MLP's output is missing: the adapter stands beside the MLP, not in its place")
def no_mlp(u, n, mlp, D, c, U, b, s):
    return u + s * ((u @ D.T + c).relu() @ U.T + b)


def scores(q, k, P_k):
    """(t, n) of the prefix, and (t, t) of the text, causal."""
    see = torch.ones(len(q), len(q), dtype=torch.bool).tril()
    return q @ P_k.T / q.shape[1] ** 0.5, (q @ k.T / q.shape[1] ** 0.5).masked_fill(~see, -torch.inf)


@wrong("prefix_share", "every token sees the whole text here: token i may look at the keys 0 to i only")
def share_not_causal(q, k, P_k):
    return (q @ torch.cat([P_k, k]).T / q.shape[1] ** 0.5).softmax(1)[:, : len(P_k)].sum(1)


@wrong("prefix_share", "the scores are not divided by sqrt(e)")
def share_unscaled(q, k, P_k):
    return (torch.cat(scores(q, k, P_k), 1) * q.shape[1] ** 0.5).softmax(1)[:, : len(P_k)].sum(1)


@wrong("prefix_share", "that is the text's share: the prefix has what is left of 1")
def share_of_the_text(q, k, P_k):
    return torch.cat(scores(q, k, P_k), 1).softmax(1)[:, len(P_k) :].sum(1)


@wrong("prefix_share", "that is the mean of the learned keys' weights: the share is their sum")
def share_mean(q, k, P_k):
    return torch.cat(scores(q, k, P_k), 1).softmax(1)[:, : len(P_k)].mean(1)


@wrong(
    "prefix_share", "the triangle starts at the first learned key: then the first tokens don't see all of the prefix"
)
def share_mask_over_all(q, k, P_k):
    t, n = len(q), len(P_k)
    see = torch.ones(t, n + t, dtype=torch.bool).tril()
    every = (q @ torch.cat([P_k, k]).T / q.shape[1] ** 0.5).masked_fill(~see, -torch.inf)
    return every.softmax(1)[:, :n].sum(1)


@wrong("prefix_share", "exp of the scores is not a share yet: the text's keys are missing in the sum below")
def share_unnormalised(q, k, P_k):
    return scores(q, k, P_k)[0].exp().sum(1)


@wrong("prefix_beside", "it is added to all of a: what goes to the prefix is taken from the text, (1 - share) a")
def beside_added(a, share, q, P_k, P_v):
    return a + share[:, None] * ((q @ P_k.T / q.shape[1] ** 0.5).softmax(1) @ P_v)


@wrong("prefix_beside", "the two shares are exchanged: (1 - share) belongs to a")
def beside_exchanged(a, share, q, P_k, P_v):
    return share[:, None] * a + (1 - share[:, None]) * ((q @ P_k.T / q.shape[1] ** 0.5).softmax(1) @ P_v)


@wrong("prefix_beside", "the softmax goes over the tokens: each token shares itself out over the n learned keys")
def beside_other_side(a, share, q, P_k, P_v):
    return (1 - share[:, None]) * a + share[:, None] * ((q @ P_k.T / q.shape[1] ** 0.5).softmax(0) @ P_v)


@wrong("prefix_beside", "the scores are not divided by sqrt(e)")
def beside_unscaled(a, share, q, P_k, P_v):
    return (1 - share[:, None]) * a + share[:, None] * ((q @ P_k.T).softmax(1) @ P_v)


@wrong("prefix_beside", "the softmax is missing: this gate multiplies weights that add up to 1")
def beside_no_softmax(a, share, q, P_k, P_v):
    return (1 - share[:, None]) * a + share[:, None] * (q @ P_k.T / q.shape[1] ** 0.5 @ P_v)


@wrong("prefix_beside", "the share is missing: how much a token looks at the prefix depends on the token")
def beside_no_share(a, share, q, P_k, P_v):
    return a + (q @ P_k.T / q.shape[1] ** 0.5).softmax(1) @ P_v


def adapter(d, m):
    return 2 * d * m + m + d


def network(layers, d, d_kv, n, h):
    return n * d + d * h + h + layers * (h + 1) * 2 * d_kv


@wrong("mam_counts", "the first count is without the network: while training, it is the network that trains")
def counts_no_network(layers, d, d_kv, n, m, h):
    kept = layers * (2 * n * d_kv + adapter(d, m))
    return kept, kept


@wrong("mam_counts", "the prefix is counted with the network that writes it: while training it is no parameter")
def counts_both(layers, d, d_kv, n, m, h):
    kept = layers * (2 * n * d_kv + adapter(d, m))
    return network(layers, d, d_kv, n, h) + kept, kept


@wrong("mam_counts", "a network for each layer: the inputs and the first Linear are there once for all layers")
def counts_many_networks(layers, d, d_kv, n, m, h):
    return layers * (network(1, d, d_kv, n, h) + adapter(d, m)), layers * (2 * n * d_kv + adapter(d, m))


@wrong("mam_counts", "keys without values: the prefix has n of each, so 2 n d_kv numbers a layer stay")
def counts_keys_alone(layers, d, d_kv, n, m, h):
    return network(layers, d, d_kv, n, h) + layers * adapter(d, m), layers * (n * d_kv + adapter(d, m))


@wrong("mam_counts", "keys and values are d_kv wide, not d: heads may share them")
def counts_wide(layers, d, d_kv, n, m, h):
    return network(layers, d, d, n, h) + layers * adapter(d, m), layers * (2 * n * d + adapter(d, m))


@wrong("mam_counts", "the biases are missing")
def counts_no_biases(layers, d, d_kv, n, m, h):
    trained = n * d + d * h + layers * (h * 2 * d_kv + 2 * d * m)
    return trained, layers * (2 * n * d_kv + 2 * d * m)


@wrong("mam_counts", "the network is dropped after training: it is not kept")
def counts_network_kept(layers, d, d_kv, n, m, h):
    trained = network(layers, d, d_kv, n, h) + layers * adapter(d, m)
    return trained, trained


def masked(q, keys, values, see):
    return (q @ keys.T / q.shape[1] ** 0.5).masked_fill(~see, -torch.inf).softmax(1) @ values


@wrong("prefix_attention", "the code as it was given: look at the first row of `see`, and count the keys")
def attention_as_given(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril()
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)


@wrong("prefix_attention", "now every token sees the whole text, its future too: only the prefix is open to all")
def attention_open(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool)
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)


@wrong("prefix_attention", "the prefix stands behind the text: a causal mask that starts at the text hides it")
def attention_at_the_end(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril()
    return masked(q, torch.cat([k, P_k]), torch.cat([v, P_v]), see)


@wrong("prefix_attention", "one key too few: token i sees the n learned keys and its own, which is key n + i")
def attention_not_itself(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril(len(P_k) - 1)
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)


@wrong("prefix_attention", "one key too many: token i sees key n + i, itself, as the last")
def attention_one_ahead(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril(len(P_k) + 1)
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)
