"""Lesson 07, Intrinsic Prompt Tuning: a prompt out of a few numbers.

Letters: n vectors of a prompt, d width of the model, k numbers in the middle, m hidden numbers of the decoder, s tasks.
Weights are stored as in nn.Linear.  A prompt (n, d) as one row is n d numbers: its vectors, one after the other.
The encoder is E (k, n d) and e (k,); the decoder is W1 (m, k), b1 (m,), W2 (n d, m), b2 (n d,).
"""

import torch
from torch import Tensor


def ipt_decode(z: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor, n: int) -> Tensor:
    """The prompt that the decoder makes of k numbers:  W2 tanh(W1 z + b1) + b2, written as n vectors.

    z (k,), W1 (m, k), b1 (m,), W2 (n d, m), b2 (n d,)  ->  (n, d)
    """
    # BEGIN SOLUTION
    row = W2 @ torch.tanh(W1 @ z + b1) + b2  # (n d,)
    return row.reshape(n, -1)
    # END SOLUTION


def ipt_rebuild(
    P: Tensor, E: Tensor, e: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    """A source task's prompt after it has gone through k numbers, and how far it is from what it was.

        z = E P + e        P as one row; no nonlinearity here
        P* = W2 tanh(W1 z + b1) + b2

    P (n, d), E (k, n d), e (k,), and the decoder as above.  Returned are P* (n, d) and the error, a single number: the
    mean of the squared differences of P* and P.
    """
    # BEGIN SOLUTION
    z = E @ P.flatten() + e  # (k,)
    rebuilt = (W2 @ torch.tanh(W1 @ z + b1) + b2).reshape(P.shape)
    return rebuilt, (rebuilt - P).square().mean()
    # END SOLUTION


def ipt_gradient(G: Tensor, z: Tensor, W1: Tensor, b1: Tensor, W2: Tensor) -> Tensor:
    """Two mistakes to find: what z learns from, by the chain rule and without autograd.

    G (n, d) is the gradient of the loss with respect to the prompt  P = W2 tanh(W1 z + b1) + b2.  Returned is the
    gradient with respect to z, (k,).  (The derivative of tanh(h) is 1 - tanh(h)^2.)

    The code below runs and gives k numbers.  Find what is wrong and put it right.
    """
    # BEGIN SOLUTION
    hidden = torch.tanh(W1 @ z + b1)  # (m,)
    at_hidden = W2.T @ G.flatten()  # (m,)
    return W1.T @ (at_hidden * (1 - hidden**2))
    # GIVEN
    # hidden = W1 @ z + b1  # (m,)
    # at_hidden = W2.T @ G.T.flatten()  # (m,)
    # return W1.T @ (at_hidden * (1 - hidden**2))
    # END SOLUTION


def ipt_explained(change: Tensor, others: Tensor) -> Tensor:
    """How much of what one prompt has learned lies in the space that other prompts have learned.

    change (n, d): a task's prompt minus the start of its training.  others (s, n, d): the same of s other tasks.
    The best that can be made of the others is  sum_i a_i others_i  with the numbers a_1 ... a_s that bring it nearest
    to `change`.  Returned is the share of the squared length of `change` that this best one holds, a single number: 0
    if the change is at a right angle to all others, 1 if it is a sum of multiples of them.
    """
    # BEGIN SOLUTION
    A, y = others.flatten(1).T, change.flatten()  # (n d, s), (n d,)
    a = torch.linalg.lstsq(A, y[:, None]).solution  # (s, 1)
    return (A @ a).square().sum() / y.square().sum()
    # END SOLUTION


def ipt_counts(n: int, d: int, m: int, k: int) -> tuple[int, int, int]:
    """Three numbers: (what trains while the subspace is learned, what trains for a new task, in how many dimensions).

    The subspace: E, e, W1, b1, W2, b2 train.  A new task: z trains.  The dimensions: take all prompts that the decoder
    can make, for every z there is, and subtract b2; how many directions does it take, at most, to write them as sums?
    """
    # BEGIN SOLUTION
    encoder, decoder = n * d * k + k, (k * m + m) + (m * n * d + n * d)
    return encoder + decoder, k, min(m, n * d)
    # END SOLUTION
