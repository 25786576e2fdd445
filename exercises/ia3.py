# Write here, save, and check: `minipeft check`, or check() in the lesson.  (ia3, version 2fef5762)
"""Lesson 09, (IA)^3: learned scales of keys, values and the MLP's hidden layer.

Letters: b batch, t tokens, d the model's width, d_kv the width of all keys, f the MLP's hidden width, n tasks.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


# 09.1 A scale in the MLP · easy · 10 minutes · 4 points
def ia3_mlp(x: Tensor, W_gate: Tensor, W_up: Tensor, W_down: Tensor, l_ff: Tensor) -> Tensor:
    """A LLaMA's MLP with (IA)^3:  W_down (l_ff * silu(W_gate x) * (W_up x)).

    x (b, t, d), W_gate and W_up (f, d), W_down (d, f), l_ff (f,)  ->  (b, t, d)

    The hidden layer is what W_down reads: it is scaled after the activation.
    """
    raise NotImplementedError("exercise 09.1")


# 09.2 Folded in · medium · 10 minutes · 4 points
def ia3_merged(W_k: Tensor, b_k: Tensor, l_k: Tensor, W_down: Tensor, l_ff: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """New W_k, b_k and W_down, in this order, that do without scales what the old ones do with them.

    The keys are l_k * (W_k x + b_k), with W_k (d_kv, d), b_k and l_k (d_kv,).  The MLP gives W_down (l_ff * h), with
    W_down (d, f) and l_ff (f,).  Others may share the old ones: leave them as they are.
    """
    raise NotImplementedError("exercise 09.2")


# 09.3 One batch, several tasks · medium · 10 minutes · 3 points
def ia3_mixed(x: Tensor, W: Tensor, bias: Tensor, scales: Tensor, task: list[int]) -> Tensor:
    """One batch, several tasks: text i is computed with the scales of its own task,  l * (W x_i + bias).

    x (b, t, d_in), W (d_out, d_in), bias (d_out,), scales (n, d_out) with one row for each of n tasks, task: b numbers
    from 0 to n - 1  ->  (b, t, d_out)

    All texts go through W in one product.
    """
    raise NotImplementedError("exercise 09.3")


# 09.4 Count, and predict the rank · medium · 10 minutes · 3 points
def ia3_counts(layers: int, d: int, d_kv: int, f: int) -> tuple[int, int, int]:
    """The three counts of (IA)^3 in a LLaMA, which has no biases: (trainable, changed, rank).

    W_k and W_v are (d_kv, d) with d_kv <= d, W_down is (d, f) with f > d.  How many numbers train?  How many numbers of
    the base are others after merging?  And predict: what is the largest rank of a weight's change?  (All scales have
    moved, each in its own way; the weights have full rank.)
    """
    raise NotImplementedError("exercise 09.4")
