"""Lesson 22, S4: which method in which layers.

Letters: b texts, t tokens, d the model's width, n the slots of a prefix, r a rank.  The methods are called A (adapter),
L (LoRA on the queries and values), P (prefix) and B (biases).  Layers are counted from the input up.
"""

import torch
from torch import Tensor


def s4_groups(layers: int, groups: int) -> list[int]:
    """How many layers each group has, the group next to the input first: a spindle.

    There are 3 groups or more.  The first and the last have weight 1 and those between them weight 2.  With

        cut_g = layers * (weights of the groups 1 to g, added up) / (weights of all groups, added up),

    rounded by Python's `round`, group g has the layers from cut_(g-1) to just before cut_g; cut_0 is 0.
    """
    # BEGIN SOLUTION
    weights = [1] + [2] * (groups - 2) + [1]
    cuts = [round(layers * sum(weights[:g]) / sum(weights)) for g in range(groups + 1)]
    return [cuts[g + 1] - cuts[g] for g in range(groups)]
    # END SOLUTION


def s4_sizes(letters: str, budget: int, d: int, d_q: int, d_kv: int, biases: int) -> list[int]:
    """How large each method of a layer may be, in the order of `letters`, a word such as "PBL".

    The layer may train `budget` numbers at most.  B takes the `biases` numbers that the layer's biases have.  The other
    letters get equal parts of what is left, and each is as large as its part allows, rounded down:

        A   the bottleneck m:   2 d m + m + d numbers
        L   the rank r:         r (2 d + d_q + d_kv)
        P   the length n:       2 n d_kv
        B   the number of biases
    """
    # BEGIN SOLUTION
    others = [letter for letter in letters if letter != "B"]
    left = budget - biases * ("B" in letters)
    part = left / max(1, len(others))
    sizes = {
        "A": (part - d) // (2 * d + 1),
        "L": part // (2 * d + d_q + d_kv),
        "P": part // (2 * d_kv),
        "B": biases,
    }
    return [int(sizes[letter]) for letter in letters]
    # END SOLUTION


def s4_attention(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, alpha: float, P: Tensor) -> Tensor:
    """Attention in a layer of the fourth group, with one head: prefix, biases and LoRA at once, no gates.

    x (b, t, d); W (3, d, d) and bias (3, d): of queries, keys and values; A (2, r, d) and B (2, d, r): LoRA's, of the
    queries and of the values; P (2, n, d): the prefix's keys and values  ->  (b, t, d), what goes into attn.o

    Queries are W[0] x + bias[0] + (alpha / r) B[0] (A[0] x), keys W[1] x + bias[1], values like the queries.  The
    prefix stands before the keys and values as it is.  Every token sees the whole prefix, and the tokens up to itself;
    scores are divided by sqrt(d).
    """
    # BEGIN SOLUTION
    b, t, d = x.shape
    n, scale = P.shape[1], alpha / A.shape[1]
    q, k, v = (x @ W[i].T + bias[i] for i in range(3))
    q = q + scale * (x @ A[0].T @ B[0].T)
    v = v + scale * (x @ A[1].T @ B[1].T)
    k, v = (torch.cat([p.expand(b, n, d), y], 1) for p, y in ((P[0], k), (P[1], v)))
    hidden = torch.ones(t, n + t, dtype=torch.bool).triu(n + 1)
    return (q @ k.mT / d**0.5).masked_fill(hidden, -torch.inf).softmax(-1) @ v
    # END SOLUTION


def s4_plans(letters: int, groups: int) -> tuple[int, int]:
    """Predict: how many plans there are, and how many the search tries if it settles one group after the other.

    A plan gives each group one or more of the `letters` methods.  The greedy search settles group 1 first: it tries all
    that this group can have, while the others stay as they are, and keeps the best.  Then group 2, and so on.
    """
    # BEGIN SOLUTION
    choices = 2**letters - 1
    return choices**groups, choices * groups
    # END SOLUTION


def s4_budgets(total: int, share: float, sizes: list[int]) -> list[float]:
    """A mistake to find: how many numbers each *group* may train, before anything is rounded.

    The model has `total` numbers, and `share` of them may train in all.  `sizes` says how many layers each group has.
    S4 gives every layer of the model the same.  Find what is wrong and put it right.
    """
    # BEGIN SOLUTION
    per_layer = share * total / sum(sizes)
    budgets = [per_layer * size for size in sizes]
    # GIVEN
    # budget = share * total
    # budgets = [budget / len(sizes) for size in sizes]
    # END SOLUTION
    return budgets
