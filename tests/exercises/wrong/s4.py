"""Wrong answers to lesson 22's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch

from minipeft.course.exercise import wrong


def ends(layers, weights):
    return [round(layers * sum(weights[:g]) / sum(weights)) for g in range(len(weights) + 1)]


@wrong("s4_groups", "the groups are equal here: those in the middle have twice the weight of the ends")
def groups_equal(layers, groups):
    cuts = ends(layers, [1] * groups)
    return [cuts[g + 1] - cuts[g] for g in range(groups)]


@wrong("s4_groups", "each size was rounded by itself, and together they need not be all layers: round the cuts")
def groups_rounded(layers, groups):
    weights = [1] + [2] * (groups - 2) + [1]
    return [round(layers * w / sum(weights)) for w in weights]


@wrong("s4_groups", "these are the cuts, where the groups end; asked for is how many layers each has")
def groups_cuts(layers, groups):
    return ends(layers, [1] + [2] * (groups - 2) + [1])[1:]


@wrong("s4_groups", "the other way round, a bottleneck: a spindle is thick in the middle")
def groups_bottleneck(layers, groups):
    cuts = ends(layers, [2] + [1] * (groups - 2) + [2])
    return [cuts[g + 1] - cuts[g] for g in range(groups)]


@wrong("s4_groups", "the cuts were rounded down; `round` goes to the nearest")
def groups_down(layers, groups):
    weights = [1] + [2] * (groups - 2) + [1]
    cuts = [layers * sum(weights[:g]) // sum(weights) for g in range(groups + 1)]
    return [cuts[g + 1] - cuts[g] for g in range(groups)]


def sized(letters, part, d, d_q, d_kv, biases):
    """Sizes from what each letter gets."""
    sizes = {"A": (part - d) // (2 * d + 1), "L": part // (2 * d + d_q + d_kv), "P": part // (2 * d_kv), "B": biases}
    return [int(sizes[letter]) for letter in letters]


@wrong("s4_sizes", "every method got the whole of what is left: it is divided among them")
def sizes_each_all(letters, budget, d, d_q, d_kv, biases):
    return sized(letters, budget - biases * ("B" in letters), d, d_q, d_kv, biases)


@wrong("s4_sizes", "the biases come off first: with a B the others share what is left, not the whole budget")
def sizes_biases_free(letters, budget, d, d_q, d_kv, biases):
    return sized(letters, budget / max(1, len(letters.replace("B", ""))), d, d_q, d_kv, biases)


@wrong("s4_sizes", "B got a part as well: it has its fixed number, and only the other letters divide what is left")
def sizes_biases_share(letters, budget, d, d_q, d_kv, biases):
    return sized(letters, (budget - biases * ("B" in letters)) / len(letters), d, d_q, d_kv, biases)


@wrong("s4_sizes", "a prefix has keys and values: 2 d_kv numbers a slot")
def sizes_prefix_once(letters, budget, d, d_q, d_kv, biases):
    part = (budget - biases * ("B" in letters)) / max(1, len(letters.replace("B", "")))
    sizes = sized(letters, part, d, d_q, d_kv, biases)
    return [int(part // d_kv) if letter == "P" else size for letter, size in zip(letters, sizes, strict=True)]


@wrong("s4_sizes", "LoRA stands on queries and values: r (d + d_q) and r (d + d_kv), added up")
def sizes_lora_square(letters, budget, d, d_q, d_kv, biases):
    part = (budget - biases * ("B" in letters)) / max(1, len(letters.replace("B", "")))
    sizes = sized(letters, part, d, d_q, d_kv, biases)
    return [int(part // (4 * d)) if letter == "L" else size for letter, size in zip(letters, sizes, strict=True)]


@wrong("s4_sizes", "the biases come off only where there is a B")
def sizes_biases_always(letters, budget, d, d_q, d_kv, biases):
    return sized(letters, (budget - biases) / max(1, len(letters.replace("B", ""))), d, d_q, d_kv, biases)


@wrong("s4_sizes", "the sizes are rounded down: rounded to the nearest, the layer may train more than its budget")
def sizes_nearest(letters, budget, d, d_q, d_kv, biases):
    part = (budget - biases * ("B" in letters)) / max(1, len(letters.replace("B", "")))
    sizes = {
        "A": (part - d) / (2 * d + 1),
        "L": part / (2 * d + d_q + d_kv),
        "P": part / (2 * d_kv),
        "B": biases,
    }
    return [round(sizes[letter]) for letter in letters]


def attention(x, W, bias, A, B, scale, P, lora="qv", seen=None, through=False):
    """A layer of the fourth group, with a thing or two that can be done wrong; token i sees `seen` + i + 1 keys."""
    (b, t, d), n = x.shape, P.shape[1]
    y = {name: x @ W[i].T + bias[i] for i, name in enumerate("qkv")}
    for i, name in enumerate(lora):
        y[name] = y[name] + scale * (x @ A[i].T @ B[i].T)
    P_k, P_v = (P[i] @ W[i + 1].T + bias[i + 1] if through else P[i] for i in range(2))
    k, v = (torch.cat([p.expand(b, n, d), z], 1) for p, z in ((P_k, y["k"]), (P_v, y["v"])))
    hidden = torch.ones(t, n + t, dtype=torch.bool).triu((n if seen is None else seen) + 1)
    return (y["q"] @ k.mT / d**0.5).masked_fill(hidden, -torch.inf).softmax(-1) @ v


@wrong("s4_attention", "the triangle begins at the prefix: token 0 sees slot 0 alone. It sees all n slots: triu(n + 1)")
def attention_mask_at_prefix(x, W, bias, A, B, alpha, P):
    return attention(x, W, bias, A, B, alpha / A.shape[1], P, seen=0)


@wrong("s4_attention", "every token sees those after it: among themselves the tokens are causal")
def attention_no_mask(x, W, bias, A, B, alpha, P):
    return attention(x, W, bias, A, B, alpha / A.shape[1], P, seen=P.shape[1] + x.shape[1])


@wrong("s4_attention", "LoRA stands on queries and values here, not on queries and keys")
def attention_lora_on_keys(x, W, bias, A, B, alpha, P):
    return attention(x, W, bias, A, B, alpha / A.shape[1], P, lora="qk")


@wrong("s4_attention", "LoRA's detours are scaled by alpha / r")
def attention_no_scale(x, W, bias, A, B, alpha, P):
    return attention(x, W, bias, A, B, 1.0, P)


@wrong("s4_attention", "the prefix is keys and values already: it does not go through W and the bias")
def attention_prefix_projected(x, W, bias, A, B, alpha, P):
    return attention(x, W, bias, A, B, alpha / A.shape[1], P, through=True)


@wrong("s4_attention", "the biases are missing: W x + bias")
def attention_no_bias(x, W, bias, A, B, alpha, P):
    return attention(x, W, 0 * bias, A, B, alpha / A.shape[1], P)


@wrong("s4_attention", "the prefix is missing, and the n slots with it")
def attention_no_prefix(x, W, bias, A, B, alpha, P):
    return attention(x, W, bias, A, B, alpha / A.shape[1], P[:, :0])


@wrong("s4_plans", "a group may have nothing at all here: 'one or more' leaves that out, 2^letters - 1")
def plans_with_empty(letters, groups):
    return 2 ** (letters * groups), 2**letters * groups


@wrong("s4_plans", "that is one method for each group: a group may have several, each letter is in or out")
def plans_one_each(letters, groups):
    return letters**groups, letters * groups


@wrong("s4_plans", "the groups' choices multiply: every choice of one goes with every choice of the others")
def plans_added(letters, groups):
    return (2**letters - 1) * groups, (2**letters - 1) * groups


@wrong("s4_plans", "the greedy search tries each group's choices once, one group after the other: they add up")
def plans_greedy_multiplied(letters, groups):
    return (2**letters - 1) ** groups, (2**letters - 1) ** groups


@wrong("s4_plans", "these are the trials for one group: each of the others takes as many, one after the other")
def plans_greedy_one_group(letters, groups):
    return (2**letters - 1) ** groups, 2**letters - 1


@wrong("s4_budgets", "the code as it was given: uniform over groups; S4 is uniform over layers")
def budgets_as_given(total, share, sizes):
    return [share * total / len(sizes) for _ in sizes]


@wrong("s4_budgets", "that is the part of one layer: a group has as many parts as it has layers")
def budgets_of_a_layer(total, share, sizes):
    return [share * total / sum(sizes) for _ in sizes]


@wrong("s4_budgets", "each layer now gets as much as a whole group should: divide by the number of layers once")
def budgets_not_divided(total, share, sizes):
    return [share * total * size for size in sizes]


@wrong("s4_budgets", "a group's share is its layers over all layers, not over the number of groups")
def budgets_by_groups(total, share, sizes):
    return [share * total / len(sizes) * size for size in sizes]
