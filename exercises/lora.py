# Write here, save, and check: `minipeft check`, or check() in the lesson.  (lora, version 40c71fdf)
"""Lesson 15, LoRA: a frozen weight and a change of low rank beside it.

Letters: b batch, t tokens, d_in and d_out the weight's two sides, r the rank, L layers.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import math

import torch
from torch import Tensor


# 15.1 The layer · easy · 10 minutes · 6 points
def lora_linear(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """A Linear with LoRA beside it, while it trains:  W x + bias + (alpha / r) B (A x).

    x (b, t, d_in), W (d_out, d_in), bias (d_out,), A (r, d_in), B (d_out, r)  ->  (b, t, d_out)

    Form the two thin products one after the other; B A, as large as W itself, is not needed.
    """
    raise NotImplementedError("exercise 15.1")


# 15.2 First values · easy · 5 minutes · 4 points
def lora_init(d_out: int, d_in: int, r: int) -> tuple[Tensor, Tensor]:
    """First values of A (r, d_in) and B (d_out, r), returned in this order.

    The model must start as its base, and both must be able to learn.  What is random is uniform between
    -1 / sqrt(d_in) and 1 / sqrt(d_in), as in the authors' code.
    """
    raise NotImplementedError("exercise 15.2")


# 15.3 Folded in · easy · 5 minutes · 4 points
def lora_merged(W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """The one weight (d_out, d_in) that does, without LoRA, what W (d_out, d_in) does with it.

    A (r, d_in), B (d_out, r).  W is the frozen base, which others may share: leave it as it is.
    """
    raise NotImplementedError("exercise 15.3")


# 15.4 How many numbers train · easy · 5 minutes · 3 points
def lora_count(layers: int, d: int, d_kv: int, r: int) -> int:
    """How many numbers train with LoRA of rank r on the queries and values of every layer.

    The query weight is (d, d).  The value weight is (d_kv, d): narrower where heads share keys and values, as in LLaMA.
    """
    raise NotImplementedError("exercise 15.4")


# 15.5 Find the mistake: gradients by hand · medium · 10 minutes · 4 points
def lora_gradients(x: Tensor, G: Tensor, A: Tensor, B: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """A mistake to find: the gradients of A and B by hand, for n inputs x (n, d_in).

    G (n, d_out) is the loss's gradient with respect to the layer's output.  Returned are the gradients of A (r, d_in)
    and of B (d_out, r).  The code below runs and gives the right shapes, and training with it even works a little.
    Find what is wrong and put it right.  (What would torch's own autograd say?)
    """
    s = alpha / A.shape[0]
    h = x @ A.T                         # (n, r), what B reads
    dA = s * (G @ B).T @ x              # (r, d_in)
    dB = G.T @ h                        # (d_out, r)
    return dA, dB


# 15.6 Predict: the rank after several rounds · medium · 5 minutes · 3 points
def lora_rank(rounds: int, r: int, d_out: int, d_in: int) -> int:
    """Predict: train a LoRA of rank r, merge it into W (d_out, d_in), start a new one, and so on, `rounds` times.

    How large can the rank of the whole change, last W minus first W, become?
    """
    raise NotImplementedError("exercise 15.6")
