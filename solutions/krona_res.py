"""Lesson 17, KronA beside the MLP: a Kronecker product around a whole sub-layer, and the scaled input with it.

Letters: b batch, t tokens, n inputs, d width, f the MLP's hidden width, L layers.
A (a, a) and B (d/a, d/a) are square here; A (x) B is (d, d).  A weight W is (d_out, d_in), as in nn.Linear.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def krona_res(h: Tensor, x: Tensor, A: Tensor, B: Tensor, scale: float, r: Tensor) -> Tensor:
    """What leaves a sub-layer that has KronA^B_res beside it:  h + scale (A (x) B) x + r x.

    x (b, t, d) is what the MLP reads and h (b, t, d) what it makes of it.  A (a, a), B (d/a, d/a).  scale is given, r
    is a tensor with one number, which is learned.  ->  (b, t, d)

    The product need not be formed: lesson 16 has the way.
    """
    # BEGIN SOLUTION
    X = x.unflatten(-1, (len(A), len(B)))
    return h + scale * (A @ X @ B.T).flatten(-2) + r * x
    # END SOLUTION


def krona_res_count(L: int, d: int, f: int, a: int, residual: bool) -> int:
    """How many numbers train with KronA^B_res in every layer, or, if `residual` is false, with KronA^B.

    The MLP has the weights (f, d) and (d, f).  A is (a, a), and a divides d.
    """
    # BEGIN SOLUTION
    return L * (a * a + (d // a) ** 2 + (1 if residual else 0))
    # END SOLUTION


def krona_res_gradients(x: Tensor, G: Tensor, A: Tensor, B: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """A mistake to find: the gradients of A, B and r by hand, for n inputs x (n, d).

    G (n, d) is the loss's gradient with respect to the sub-layer's output h + scale (A (x) B) x + r x.  Returned are
    the gradients of A (a, a), of B (d/a, d/a), and of r, a tensor without axes.  The code below runs, and gives the
    right shapes.  (At the start A and r are zero: which of the three gradients may be zero then?)
    """
    # BEGIN SOLUTION
    X = x.unflatten(-1, (len(A), len(B)))
    Y = G.unflatten(-1, (len(A), len(B)))
    dA = scale * torch.einsum("nik,njl,kl->ij", Y, X, B)
    dB = scale * torch.einsum("nik,njl,ij->kl", Y, X, A)
    dr = (G * x).sum()  # at the start x is there as well, so r moves from the first step on
    # GIVEN
    # X = x.unflatten(-1, (len(A), len(B)))  # (n, a, d/a)
    # Y = G.unflatten(-1, (len(A), len(B)))  # (n, a, d/a)
    # dA = scale * torch.einsum("nik,njl,kl->ij", Y, X, B)
    # dB = scale * torch.einsum("nik,njl,ij->kl", Y, X, A)
    # dr = scale * (G * x).mean()
    # END SOLUTION
    return dA, dB, dr


def krona_res_widened(up: Tensor, bias: Tensor, down: Tensor, M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fold a linear path into an MLP with GELU, exactly, by giving it more hidden units.

    The MLP is x -> gelu(x up^T + bias) down^T, with up (f, d), bias (f,), down (d, f).  Beside it stands x M^T, with
    M (d, d).  Returned are the three of a wider MLP, with f + 2 d hidden units, that gives the sum of both for any x:
    up (f + 2 d, d), bias (f + 2 d,), down (d, f + 2 d).

    What you need to know of GELU: gelu(z) = z p(z), where p goes from 0 to 1 and p(z) + p(-z) = 1.  What is
    gelu(z) - gelu(-z)?
    """
    # BEGIN SOLUTION
    d = len(M)
    one = torch.eye(d)
    return torch.cat([up, one, -one]), torch.cat([bias, torch.zeros(2 * d)]), torch.cat([down, M, -M], 1)
    # END SOLUTION


def gelu_mlp(x: Tensor, up: Tensor, bias: Tensor, down: Tensor) -> Tensor:
    """The MLP of `krona_res_widened`, to try your answer with: (b, t, d) -> (b, t, d)."""
    return F.gelu(x @ up.T + bias, approximate="tanh") @ down.T
