"""Lesson 04, AdaMix: several adapters at one place, drawn at random while training, averaged in the end.

Letters: b batch, t tokens, d width, m an adapter's size, n positions, v vocabulary, e experts that read, u experts that
write (u = 1: they share one).
The experts' weights are stacked, stored as in nn.Linear:  downs (e, m, d), down_biases (e, m), ups (u, d, m),
up_biases (u, d).
"""

import torch.nn.functional as F
from torch import Tensor


def adamix_train(
    h: Tensor, downs: Tensor, down_biases: Tensor, ups: Tensor, up_biases: Tensor, i: int, j: int
) -> Tensor:
    """One pass while training, after expert i was drawn to read and expert j to write:

        h + U_j gelu(D_i h + c_i) + b_j         D, c: downs and their biases; U, b: ups and their biases

    h (b, t, d), downs (e, m, d), down_biases (e, m), ups (u, d, m), up_biases (u, d)  ->  (b, t, d)
    """
    # BEGIN SOLUTION
    low = F.gelu(h @ downs[i].T + down_biases[i])
    return h + low @ ups[j].T + up_biases[j]
    # END SOLUTION


def adamix_eval(h: Tensor, downs: Tensor, down_biases: Tensor, ups: Tensor, up_biases: Tensor) -> Tensor:
    """What inference does: one adapter, whose weights and biases are the means over the experts.

    h (b, t, d), downs (e, m, d), down_biases (e, m), ups (u, d, m), up_biases (u, d)  ->  (b, t, d)
    """
    # BEGIN SOLUTION
    low = F.gelu(h @ downs.mean(0).T + down_biases.mean(0))
    return h + low @ ups.mean(0).T + up_biases.mean(0)
    # END SOLUTION


def adamix_disagreement(first: Tensor, second: Tensor) -> Tensor:
    """How far two passes are from each other:  (KL(p || q) + KL(q || p)) / 2, a single number, in nats.

    first, second (n, v): logits of the two passes at the same n positions; p and q are their softmax.
    KL(p || q) is the sum over the vocabulary of p (log p - log q); its mean over the n positions is what counts.

    Gradients: in KL(p || q) the p is a target and gets none, only q moves towards it; in KL(q || p) it is q that gets
    none.  (Then the gradient at `first` is (p - q) / 2n, and at `second` (q - p) / 2n.)
    """
    # BEGIN SOLUTION
    p, q = first.log_softmax(-1), second.log_softmax(-1)  # the logs of the two
    p_given, q_given = p.detach(), q.detach()
    to_p = (p_given.exp() * (p_given - q)).sum(-1).mean()
    to_q = (q_given.exp() * (q_given - p)).sum(-1).mean()
    return (to_p + to_q) / 2
    # END SOLUTION


def adamix_count(layers: int, d: int, m: int, experts: int, share_up: bool) -> tuple[int, int]:
    """How many numbers train, and how many are kept after the training (in this order).

    One place in each layer, with `experts` pairs D (m, d) and c (m,), and as many pairs U (d, m) and b (d,), or, if
    `share_up`, a single pair U and b.  After the training the experts are averaged.
    """
    # BEGIN SOLUTION
    down, up = m * d + m, d * m + d
    return layers * (experts * down + (1 if share_up else experts) * up), layers * (down + up)
    # END SOLUTION


def adamix_met(experts: int, passes: int) -> float:
    """Predict: of `experts` adapters at one place, how many different ones are drawn in `passes` passes, on average?

    Each pass draws one, all equally likely, whatever was drawn before.  AdaMix has two passes in a training step; an
    expert that is not drawn gets no gradient in that step.
    """
    # BEGIN SOLUTION
    return experts * (1 - (1 - 1 / experts) ** passes)
    # END SOLUTION
