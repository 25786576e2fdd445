"""Lesson 02, where memory goes: what a training step holds, and what folds into a weight.

Letters: n tokens of a batch (b texts of t), d width, f hidden width.  A number has 4 bytes in fp32 and 2 in bf16.
"Kept" means: kept by autograd from the forward pass until the backward pass, weights not counted.
"""

from torch import Tensor


def step_bytes(frozen: int, trained: int, base_bytes: float, activations: int) -> float:
    """How many bytes a training step holds if nothing is freed before its end.

    `frozen` numbers of the model are stored in `base_bytes` bytes each (2 in bf16).  `trained` numbers are stored in
    fp32, whatever the base is stored in; each has a gradient in fp32, and AdamW keeps two averages of it, also in
    fp32.  `activations`: the bytes kept for the backward pass, all of them.
    """
    # BEGIN SOLUTION
    return frozen * base_bytes + trained * (4 + 4 + 2 * 4) + activations
    # END SOLUTION


def linear_keeps(x_needs: bool, W_trains: bool, bias_trains: bool) -> tuple[bool, bool]:
    """What autograd keeps of the forward pass of y = x W^T + bias: (is x kept?, is W kept?).

    x_needs: somebody needs the gradient of x, since something that trains lies below.
    W_trains, bias_trains: the gradient of W, or of the bias, is needed.

    With G the gradient of y: the gradient of x is G W, that of W is G^T x, that of the bias is the sum of G's rows.
    """
    # BEGIN SOLUTION
    return W_trains, x_needs
    # END SOLUTION


def mlp_keeps(n: int, d: int, f: int, x_needs: bool, up_trains: bool, down_trains: bool, size: int) -> int:
    """How many bytes GPT-2's MLP keeps for the backward pass of n tokens:  down(gelu(up(x))).

    x (n, d), up.weight (f, d), down.weight (d, f); every number has `size` bytes.  The biases are frozen, and the
    weights, which are there anyway, are not counted.
    x_needs: the gradient of x is needed.  up_trains, down_trains: the weight of up, or of down, trains.
    The gradient of gelu(h) is computed from h.
    """
    # BEGIN SOLUTION
    numbers = 0
    if up_trains:
        numbers += n * d  # x
    if x_needs or up_trains:
        numbers += n * f  # gelu's input
    if down_trains:
        numbers += n * f  # gelu's output
    return numbers * size
    # END SOLUTION


def largest_batch(
    memory: int, fixed: int, t: int, layers: int, stream: int, block: int, recompute: bool = False
) -> int:
    """The largest number of texts, of t tokens each, with which a training step fits into `memory` bytes; maybe 0.

    fixed    bytes of weights, gradients and optimizer
    stream   bytes that every block keeps of each token as its input
    block    bytes that every block keeps of each token beside its input

    With `recompute` the blocks keep their inputs alone, and the backward pass runs them again, one after the other,
    from the last to the first: at any time, one block keeps the rest as well.
    """
    # BEGIN SOLUTION
    blocks = 1 if recompute else layers
    text = t * (layers * stream + blocks * block)
    return max(0, (memory - fixed) // text)
    # END SOLUTION


def blocks_keeping(layers: int, trained: list[int]) -> int:
    """Predict: in how many blocks of a model something is kept for the backward pass.

    The blocks are numbered from 0, at the embedding, to layers - 1, at the head.  Those in `trained` (in any order)
    train, and all others are frozen, the embedding too.
    """
    # BEGIN SOLUTION
    return layers - min(trained)
    # END SOLUTION


def folded(W: Tensor, bias: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """The weight and the bias of the one Linear that does what these two steps do:  h = W x + bias,  y = h + B (A h).

    W (d_out, d_in), bias (d_out,), A (r, d_out), B (d_out, r)  ->  W' (d_out, d_in), bias' (d_out,)

    This is `Serial`, with a branch that has no nonlinearity.  Leave W and the bias as they are, and return new ones.
    """
    # BEGIN SOLUTION
    return W + B @ (A @ W), bias + B @ (A @ bias)
    # END SOLUTION
