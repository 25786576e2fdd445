"""Lesson 15, LoRA: a frozen weight and a change of low rank beside it.

Letters: b batch, t tokens, d_in and d_out the weight's two sides, r the rank, L layers.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import math

import torch
from torch import Tensor


def lora_linear(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """A Linear with LoRA beside it, while it trains:  W x + bias + (alpha / r) B (A x).

    x (b, t, d_in), W (d_out, d_in), bias (d_out,), A (r, d_in), B (d_out, r)  ->  (b, t, d_out)

    Form the two thin products one after the other; B A, as large as W itself, is not needed.
    """
    # BEGIN SOLUTION
    r = A.shape[0]
    return x @ W.T + bias + alpha / r * (x @ A.T @ B.T)
    # END SOLUTION


def lora_init(d_out: int, d_in: int, r: int) -> tuple[Tensor, Tensor]:
    """First values of A (r, d_in) and B (d_out, r), returned in this order.

    The model must start as its base, and both must be able to learn.  What is random is uniform between
    -1 / sqrt(d_in) and 1 / sqrt(d_in), as in the authors' code.
    """
    # BEGIN SOLUTION
    bound = 1 / math.sqrt(d_in)
    return torch.empty(r, d_in).uniform_(-bound, bound), torch.zeros(d_out, r)
    # END SOLUTION


def lora_merged(W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """The one weight (d_out, d_in) that does, without LoRA, what W (d_out, d_in) does with it.

    A (r, d_in), B (d_out, r).  W is the frozen base, which others may share: leave it as it is.
    """
    # BEGIN SOLUTION
    return W + alpha / A.shape[0] * B @ A
    # END SOLUTION


def lora_count(layers: int, d: int, d_kv: int, r: int) -> int:
    """How many numbers train with LoRA of rank r on the queries and values of every layer.

    The query weight is (d, d).  The value weight is (d_kv, d): narrower where heads share keys and values, as in LLaMA.
    """
    # BEGIN SOLUTION
    return layers * (r * (d + d) + r * (d + d_kv))
    # END SOLUTION


def lora_gradients(x: Tensor, G: Tensor, A: Tensor, B: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """A mistake to find: the gradients of A and B by hand, for n inputs x (n, d_in).

    G (n, d_out) is the loss's gradient with respect to the layer's output.  Returned are the gradients of A (r, d_in)
    and of B (d_out, r).  The code below runs and gives the right shapes, and training with it even works a little.
    Find what is wrong and put it right.  (What would torch's own autograd say?)
    """
    # BEGIN SOLUTION
    s = alpha / A.shape[0]
    h = x @ A.T  # (n, r), what B reads
    dA = s * (G @ B).T @ x  # zero as long as B is: in the first step only B moves
    dB = s * G.T @ h
    # GIVEN
    # s = alpha / A.shape[0]
    # h = x @ A.T                         # (n, r), what B reads
    # dA = s * (G @ B).T @ x              # (r, d_in)
    # dB = G.T @ h                        # (d_out, r)
    # END SOLUTION
    return dA, dB


def lora_rank(rounds: int, r: int, d_out: int, d_in: int) -> int:
    """Predict: train a LoRA of rank r, merge it into W (d_out, d_in), start a new one, and so on, `rounds` times.

    How large can the rank of the whole change, last W minus first W, become?
    """
    # BEGIN SOLUTION
    return min(rounds * r, d_out, d_in)
    # END SOLUTION
