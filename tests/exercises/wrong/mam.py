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


def steps(h, g, s, lr, in_gradient=1.0, in_output=1.0):
    """Both, with s in the gradient and in the output as often as these say."""
    gradient = s**in_gradient * g[:, None] * h
    return s**in_output * (-lr * gradient.sign()) @ h, s**in_output * (-lr * gradient) @ h


@wrong("first_step", "the gradient of U has s in it too: with gradient descent s counts twice")
def step_without_s_in_the_gradient(h, g, s, lr):
    return steps(h, g, s, lr, in_gradient=0)


@wrong("first_step", "the branch says s U h: the s in front of the new U is missing")
def step_without_s_outside(h, g, s, lr):
    return steps(h, g, s, lr, in_output=0)


@wrong("first_step", "s counts twice in Adam's step here: the sign of a gradient does not know how long it is")
def step_squared_in_both(h, g, s, lr):
    adam, descent = steps(h, g, s, lr)
    return s * adam, descent


@wrong("first_step", "a step goes against the gradient: the minus is missing")
def step_uphill(h, g, s, lr):
    adam, descent = steps(h, g, s, lr)
    return -adam, -descent


@wrong("first_step", "the two are exchanged: Adam comes first")
def step_exchanged(h, g, s, lr):
    return steps(h, g, s, lr)[::-1]


@wrong("first_step", "Adam takes the sign of each number of U's gradient: that of g h^T, not of g alone")
def step_sign_of_g(h, g, s, lr):
    _, descent = steps(h, g, s, lr)
    return s * (-lr * g.sign()[:, None] * h) @ h, descent


@wrong("first_step", "both are gradient descent: Adam's step has the length lr in each number, whatever the gradient's")
def step_same(h, g, s, lr):
    _, descent = steps(h, g, s, lr)
    return descent, descent


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


@wrong("attention_with_prefix", "the code as it was given: look at the first row of `see`, and count the keys")
def attention_as_given(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril()
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)


@wrong("attention_with_prefix", "now every token sees the whole text, its future too: only the prefix is open to all")
def attention_open(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool)
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)


@wrong("attention_with_prefix", "the prefix stands behind the text: a causal mask that starts at the text hides it")
def attention_at_the_end(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril()
    return masked(q, torch.cat([k, P_k]), torch.cat([v, P_v]), see)


@wrong("attention_with_prefix", "one key too few: token i sees the n learned keys and its own, which is key n + i")
def attention_not_itself(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril(len(P_k) - 1)
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)


@wrong("attention_with_prefix", "one key too many: token i sees key n + i, itself, as the last")
def attention_one_ahead(q, k, v, P_k, P_v):
    see = torch.ones(len(q), len(q) + len(P_k), dtype=torch.bool).tril(len(P_k) + 1)
    return masked(q, torch.cat([P_k, k]), torch.cat([P_v, v]), see)
