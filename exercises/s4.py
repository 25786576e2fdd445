# Write here, save, and check: `minipeft check`, or check() in the lesson.  (s4, version 7088c570)
"""Lesson 22, S4: which method in which layers.

Letters: b texts, t tokens, d the model's width, n the slots of a prefix, r a rank.  The methods are called A (adapter),
L (LoRA on the queries and values), P (prefix) and B (biases).  Layers are counted from the input up.
"""

import torch
from torch import Tensor


# 22.1 The groups · easy · 5 minutes · 3 points
def s4_groups(layers: int, groups: int) -> list[int]:
    """How many layers each group has, the group next to the input first: a spindle.

    There are 3 groups or more.  The first and the last have weight 1 and those between them weight 2.  With

        cut_g = layers * (weights of the groups 1 to g, added up) / (weights of all groups, added up),

    rounded by Python's `round`, group g has the layers from cut_(g-1) to just before cut_g; cut_0 is 0.
    """
    raise NotImplementedError("exercise 22.1")


# 22.2 From a budget to sizes · medium · 15 minutes · 5 points
def s4_sizes(letters: str, budget: int, d: int, d_q: int, d_kv: int, biases: int) -> list[int]:
    """How large each method of a layer may be, in the order of `letters`, a word such as "PBL".

    The layer may train `budget` numbers at most.  B takes the `biases` numbers that the layer's biases have.  The other
    letters get equal parts of what is left, and each is as large as its part allows, rounded down:

        A   the bottleneck m:   2 d m + m + d numbers
        L   the rank r:         r (2 d + d_q + d_kv)
        P   the length n:       2 n d_kv
        B   the number of biases
    """
    raise NotImplementedError("exercise 22.2")


# 22.3 A layer of the fourth group · hard · 20 minutes · 6 points
def s4_attention(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, alpha: float, P: Tensor) -> Tensor:
    """Attention in a layer of the fourth group, with one head: prefix, biases and LoRA at once, no gates.

    x (b, t, d); W (3, d, d) and bias (3, d): of queries, keys and values; A (2, r, d) and B (2, d, r): LoRA's, of the
    queries and of the values; P (2, n, d): the prefix's keys and values  ->  (b, t, d), what goes into attn.o

    Queries are W[0] x + bias[0] + (alpha / r) B[0] (A[0] x), keys W[1] x + bias[1], values like the queries.  The
    prefix stands before the keys and values as it is.  Every token sees the whole prefix, and the tokens up to itself;
    scores are divided by sqrt(d).
    """
    raise NotImplementedError("exercise 22.3")


# 22.4 Predict: how many plans · easy · 5 minutes · 3 points
def s4_plans(letters: int, groups: int) -> tuple[int, int]:
    """Predict: how many plans there are, and how many the search tries if it settles one group after the other.

    A plan gives each group one or more of the `letters` methods.  The greedy search settles group 1 first: it tries all
    that this group can have, while the others stay as they are, and keeps the best.  Then group 2, and so on.
    """
    raise NotImplementedError("exercise 22.4")


# 22.5 Find the mistake: who gets how much · easy · 5 minutes · 3 points
def s4_budgets(total: int, share: float, sizes: list[int]) -> list[float]:
    """A mistake to find: how many numbers each *group* may train, before anything is rounded.

    The model has `total` numbers, and `share` of them may train in all.  `sizes` says how many layers each group has.
    S4 gives every layer of the model the same.  Find what is wrong and put it right.
    """
    budget = share * total
    budgets = [budget / len(sizes) for size in sizes]
    return budgets
