# Write here, save, and check: `minipeft check`, or check() in the lesson.  (unipelt, version 97f40aee)
"""Lesson 20, UniPELT: a prefix, LoRA and adapters, each behind a gate.

Letters: b batch, t tokens, d the model's width, d_kv the width of all keys of a layer, r LoRA's rank, n the length of
the prefix, m the adapter's width, e a head's width.
A weight W is (d_out, d_in), as in nn.Linear: it maps x (..., d_in) to x W^T (..., d_out).
"""

import torch
from torch import Tensor


# 20.1 A gate before LoRA · easy · 10 minutes · 4 points
def gated_lora(x: Tensor, W: Tensor, A: Tensor, B: Tensor, w: Tensor, c: float) -> Tensor:
    """A Linear with gated LoRA beside it:  W x + g(x) B A x,  with g(x) = sigmoid(w x + c), one number for each token.

    x (b, t, d_in), W (d_out, d_in), A (r, d_in), B (d_out, r), w (d_in,)  ->  (b, t, d_out)

    There is no alpha / r: the gate has taken its place.
    """
    raise NotImplementedError("exercise 20.1")


# 20.2 Find the mistake: a gate that looks ahead · medium · 10 minutes · 4 points
def causal_gate(x: Tensor, w: Tensor, c: float) -> Tensor:
    """A mistake to find: the paper's gate, made fit for a model that must not look ahead.

    The paper's gate is one number for a whole text, the mean of sigmoid(w x + c) over its tokens.  Here token i's gate
    should be the mean over the tokens 0 to i: at the last token it is the paper's.

    x (b, t, d), w (d,)  ->  (b, t, 1)

    The code below gives the right shape, and the right number at the last token of each text.  Find what is wrong and
    put it right.  (What happens to token 0's gate if you change the last token?)
    """
    g = (x @ w + c).sigmoid()                     # (b, t)
    mean = g.mean(1, keepdim=True).expand_as(g)
    return mean[..., None]


# 20.3 A gated prefix · hard · 20 minutes · 6 points
def gated_prefix(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor, g: Tensor) -> Tensor:
    """Attention with a gated prefix, for one head: token i attends to  [g_i P_k; k]  and  [g_i P_v; v].

    q, k and v (t, e), P_k and P_v (n, e), g (t,)  ->  (t, e)

    Causal: token i sees the n learned keys, and of the text the keys 0 to i.  Scores are divided by sqrt(e), and one
    softmax goes over all that a token sees.  The gate is that of the token that looks, so each token sees a prefix of
    its own; but n t different keys need not be formed.
    """
    raise NotImplementedError("exercise 20.3")


# 20.4 Predict: a prefix behind a shut gate · medium · 10 minutes · 3 points
def shut_prefix(scores: Tensor, n: int) -> float:
    """Predict: a prefix's gate is shut, g = 0.  The attention gives f times what it gives without a prefix.  What is f?

    `scores` (t,) are one token's scores for the t tokens of text that it sees, divided by sqrt(e) already.  All n
    learned keys and values are multiplied by zero.  Without a prefix the token gets softmax(scores) v.

    Returned is a number between 0 and 1.
    """
    raise NotImplementedError("exercise 20.4")


# 20.5 How many numbers stay · easy · 10 minutes · 3 points
def unipelt_counts(layers: int, d: int, d_kv: int, n: int, r: int, m: int) -> tuple[int, int]:
    """How many numbers are kept when training is over, and how many of them are gates.

    In each layer: n learned keys and n learned values, d_kv wide; LoRA of rank r beside the queries' weight (d, d) and
    the values' weight (d_kv, d); an adapter with D (m, d), c (m,), U (d, m), b (d,).  Four gates: the prefix has one,
    each of the two LoRAs has one, the adapter has one.  A gate has a vector w (d,) and a number c.
    """
    raise NotImplementedError("exercise 20.5")
