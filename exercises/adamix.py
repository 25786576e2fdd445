# Write here, save, and check: `minipeft check`, or check() in the lesson.  (adamix, version c2650c22)
"""Lesson 04, AdaMix: several adapters at one place, drawn at random while training, averaged in the end.

Letters: b batch, t tokens, d width, m an adapter's size, n positions, v vocabulary, e experts that read, u experts that
write (u = 1: they share one).
The experts' weights are stacked, stored as in nn.Linear:  downs (e, m, d), down_biases (e, m), ups (u, d, m),
up_biases (u, d).
"""

import torch.nn.functional as F
from torch import Tensor


# 04.1 One draw · easy · 10 minutes · 3 points
def adamix_train(
    h: Tensor, downs: Tensor, down_biases: Tensor, ups: Tensor, up_biases: Tensor, i: int, j: int
) -> Tensor:
    """One pass while training, after expert i was drawn to read and expert j to write:

        h + U_j gelu(D_i h + c_i) + b_j         D, c: downs and their biases; U, b: ups and their biases

    h (b, t, d), downs (e, m, d), down_biases (e, m), ups (u, d, m), up_biases (u, d)  ->  (b, t, d)
    """
    raise NotImplementedError("exercise 04.1")


# 04.2 The mean of the experts · easy · 5 minutes · 2 points
def adamix_eval(h: Tensor, downs: Tensor, down_biases: Tensor, ups: Tensor, up_biases: Tensor) -> Tensor:
    """What inference does: one adapter, whose weights and biases are the means over the experts.

    h (b, t, d), downs (e, m, d), down_biases (e, m), ups (u, d, m), up_biases (u, d)  ->  (b, t, d)
    """
    raise NotImplementedError("exercise 04.2")


# 04.3 Two passes should agree · hard · 15 minutes · 3 points
def adamix_disagreement(first: Tensor, second: Tensor) -> Tensor:
    """How far two passes are from each other:  (KL(p || q) + KL(q || p)) / 2, a single number, in nats.

    first, second (n, v): logits of the two passes at the same n positions; p and q are their softmax.
    KL(p || q) is the sum over the vocabulary of p (log p - log q); its mean over the n positions is what counts.

    Gradients: in KL(p || q) the p is a target and gets none, only q moves towards it; in KL(q || p) it is q that gets
    none.  (Then the gradient at `first` is (p - q) / 2n, and at `second` (q - p) / 2n.)
    """
    raise NotImplementedError("exercise 04.3")


# 04.4 How many train, how many stay · easy · 5 minutes · 2 points
def adamix_count(layers: int, d: int, m: int, experts: int, share_up: bool) -> tuple[int, int]:
    """How many numbers train, and how many are kept after the training (in this order).

    One place in each layer, with `experts` pairs D (m, d) and c (m,), and as many pairs U (d, m) and b (d,), or, if
    `share_up`, a single pair U and b.  After the training the experts are averaged.
    """
    raise NotImplementedError("exercise 04.4")


# 04.5 Predict: who learns in a step · medium · 10 minutes · 2 points
def adamix_met(experts: int, passes: int) -> float:
    """Predict: of `experts` adapters at one place, how many different ones are drawn in `passes` passes, on average?

    Each pass draws one, all equally likely, whatever was drawn before.  AdaMix has two passes in a training step; an
    expert that is not drawn gets no gradient in that step.
    """
    raise NotImplementedError("exercise 04.5")
