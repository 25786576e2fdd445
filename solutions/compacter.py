"""Lesson 21, Compacter: adapters whose matrices are sums of Kronecker products.

Letters: b batch, l tokens (t is a factor here), d width, m the adapter's size, n how many products, r their rank.
A weight W is (d_out, d_in), as in nn.Linear, and

    W = sum_i A_i (x) s_i t_i        A (n, n, n), s (n, d_out / n, r), t (n, r, d_in / n); A_i is A[i], and so on

gelu is torch.nn.functional.gelu, with its default.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def phm_weight(A: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """The weight  sum_i A_i (x) s_i t_i.

    A (n, n, n), s (n, o, r), t (n, r, k)  ->  (n o, n k)

    (x) is the Kronecker product, torch.kron: A_i (x) B_i has n by n blocks, and the block in row a and column c is
    A_i[a, c] times B_i.
    """
    # BEGIN SOLUTION
    return sum(torch.kron(A[i], s[i] @ t[i]) for i in range(len(A)))
    # END SOLUTION


def lphm(x: Tensor, A: Tensor, s: Tensor, t: Tensor, bias: Tensor) -> Tensor:
    """x W^T + bias, with W = sum_i A_i (x) s_i t_i that is never formed: (b, l, d_in) -> (b, l, d_out).  Given."""
    pieces = x.unflatten(-1, (len(A), -1))  # (b, l, n, d_in / n)
    return torch.einsum("iac, ior, irk, blck -> blao", A, s, t, pieces).flatten(-2) + bias


def compacter_adapter(
    h: Tensor, A: Tensor, s_down: Tensor, t_down: Tensor, c: Tensor, s_up: Tensor, t_up: Tensor, b: Tensor
) -> Tensor:
    """Two mistakes to find: the survey's listing of the adapter  h + U gelu(D h + c) + b.

    D = sum_i A_i (x) s_down_i t_down_i  (m, d),    U = sum_i A_i (x) s_up_i t_up_i  (d, m)

    h (b, l, d), c (m,), b (d,)  ->  (b, l, d).  `lphm`, above, is right and may be used.
    The code below raises: that is the first mistake.
    """
    # BEGIN SOLUTION
    z = F.gelu(lphm(h, A, s_down, t_down, c))
    y = h + lphm(z, A, s_up, t_up, b)
    # GIVEN
    # z = F.gelu(lphm(h, A, s_down, t_down, c))
    # y = lphm(z, A, s_down, t_down, c)
    # END SOLUTION
    return y


def compacter_count(layers: int, d: int, m: int, n: int, r: int, shared: bool, norms: bool) -> int:
    """How many numbers train with Compacter in a GPT of GPT-2's style and width d.

    Two adapters a block, each with a D (m, d), a U (d, m), and the biases c (m,) and b (d,).  D and U are sums of n
    products, A_i (x) s_i t_i, with s_i and t_i of rank r.  If `shared`, there is one A (n, n, n) in the whole model; if
    not, each matrix has its own.  If `norms`, the model's LayerNorms train too: two a block and one before the head,
    each with a gain and a bias for every one of its d numbers.
    """
    # BEGIN SOLUTION
    own = r * (d + m) + r * (d + m) + m + d
    patterns = n**3 if shared else 4 * layers * n**3
    return 2 * layers * own + patterns + ((2 * layers + 1) * 2 * d if norms else 0)
    # END SOLUTION


def compacter_shared_gradient(G: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """The gradient of the loss with respect to the one A (n, n, n) that p weights share.

    Weight number j is W_j = sum_i A_i (x) s_ji t_ji, and G[j] is the gradient of the loss with respect to it.

    G (p, n o, n k), s (p, n, o, r), t (p, n, r, k)  ->  (n, n, n)

    One number, A_i[a, c], multiplies all of s_ji t_ji, in the block in row a and column c of W_j.  So what does it
    collect from that block, and from how many weights?
    """
    # BEGIN SOLUTION
    p, n, o, _ = s.shape
    total = torch.zeros(n, n, n)
    for j in range(p):
        blocks = G[j].reshape(n, o, n, -1).transpose(1, 2)  # (n, n, o, k)
        for i in range(n):
            total[i] += (blocks * (s[j, i] @ t[j, i])).sum((2, 3))
    return total
    # END SOLUTION


def compacter_rank(d: int, m: int, n: int, r: int) -> int:
    """Predict: the rank of D = sum_i A_i (x) s_i t_i, (m, d), for random factors.  It can't be more for any others.

    i runs over n terms; A_i is (n, n), and s_i t_i is (m / n, d / n) and has rank r, which is less than both.
    The rank of a Kronecker product is the product of the two ranks.
    """
    # BEGIN SOLUTION
    return min(m, d, n * n * r)
    # END SOLUTION
