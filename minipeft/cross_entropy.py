"""Cross-entropy over a large vocabulary, without keeping its logits.

    loss = mean of  logsumexp(z_i) - z_i[y_i]        z_i = W x_i: (v,), from the features x (n, d); labels y (n,)
    d loss / d x_i = (softmax(z_i) - onehot(y_i)) W / n

Of a GPT-2 the logits of 512 tokens are 100 MB, more than a block keeps, and their gradient is as many again.  But the
loss is the last thing a network does: the gradient by x needs nothing that comes later.  So we take it on the way
forward, a few rows at a time, whose logits are then forgotten: of (n, v) numbers nothing is kept, of (n, d) only the
gradient.  No product is computed twice.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .surgery import trainable

LOGITS = 2**24  # so many at a time, 64 MB: fewer rows make slower products, the weights are read again for each piece


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of the labels y (n,) given the features x (n, d) before the model's head.

    A head that trains needs its logits' gradient for itself, and few logits are quickly kept: both go the plain way.
    """
    head = model.tokens if model.head is None else model.head
    rows = max(1, LOGITS // model.c.vocab)
    if len(x) <= rows or trainable(head):
        return F.cross_entropy(model.logits(x).float(), y)
    return FrozenHead.apply(x, y, model.logits, rows)


class FrozenHead(torch.autograd.Function):
    """The same, with the gradient by x taken on the way forward, `rows` rows at a time."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, logits: Callable[[Tensor], Tensor], rows: int) -> Tensor:
        total, grads = x.new_zeros((), dtype=torch.float32), []
        for some, labels in zip(x.split(rows), y.split(rows), strict=True):
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                some = some.detach().requires_grad_(ctx.needs_input_grad[0])
                loss = F.cross_entropy(logits(some).float(), labels, reduction="sum") / len(x)
            total += loss.detach()
            if ctx.needs_input_grad[0]:
                grads += torch.autograd.grad(loss, some)
        ctx.save_for_backward(*([torch.cat(grads)] if grads else []))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, above: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return above * grad, None, None, None
