"""What a method costs, measured: how many numbers, how many bytes, how many seconds."""

import copy
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .surgery import Wrapper, base_state, inner, merge, trainable, walk


@dataclass(frozen=True)
class Counts:
    """The three counts of a method; the survey's section 4 explains why one isn't enough."""

    trainable: int  # numbers that train
    changed: int  # numbers of the base with another value than before, and those that stay beside it after a merge
    rank: int | None  # the largest rank of a weight matrix's change; None: no matrix of the base has changed

    def __str__(self) -> str:
        rank = "–" if self.rank is None else f"{self.rank:,}"
        return f"trainable {self.trainable:,} · changed {self.changed:,} · rank {rank}"

    __repr__ = __str__


def counts(model: nn.Module) -> Counts:
    """The three counts of the model as it is now, whatever it carries: merge a copy, and look what is different.

    Before training, a method that starts as its base has changed nothing.
    """
    before, ghost = base_state(model), merge(_ghost(model))
    after = {
        f"{name}.{key}": p for name, _, part in walk(ghost) for key, p in inner(part).named_parameters(recurse=False)
    }
    base = {id(after[name]) for name in before}
    changed, top = sum(p.numel() for p in ghost.parameters() if id(p) not in base), 0
    for name, old in before.items():
        if after[name].data_ptr() != old.data_ptr():
            change = after[name].detach().double() - old.double()
            changed += change.count_nonzero().item()
            if change.ndim == 2 and top < min(change.shape):
                top = max(top, rank(change, noise=1e-15 * old.norm().item()))
    return Counts(sum(p.numel() for p in trainable(model).values()), changed, top or None)


def _ghost(model: nn.Module) -> nn.Module:
    """A copy to merge, which shares what no method touches.  What folds is in fp64: no change is lost in rounding."""
    parts = [m for m in model.modules() if isinstance(m, Wrapper) or parametrize.is_parametrized(m)]
    touched = {id(p) for part in parts for p in part.parameters()}
    memo = {id(p): nn.Parameter(p.detach(), False) for p in model.parameters() if id(p) not in touched}
    memo[id(model.tokenizer)] = model.tokenizer
    ghost = copy.deepcopy(model, memo)
    for _, _, part in walk(ghost):
        wrapped = isinstance(part, Wrapper) and dict(inner(part).named_parameters(recurse=False))
        if wrapped or parametrize.is_parametrized(inner(part)):
            part.double()
    return ghost


def rank(matrix: Tensor, noise: float = 0.0) -> int:
    """How many singular values stand out of rounding, or of `noise` if that is more.  (m, n), in fp64.

    Random combinations of the columns span as much as the columns do, up to their own number: few are enough to tell a
    low rank, and cost a thin product instead of a decomposition of the whole.
    """
    draws = torch.Generator(matrix.device).manual_seed(0)

    def some(n: int, k: int) -> Tensor:
        return torch.randn(n, k, generator=draws, dtype=matrix.dtype, device=matrix.device) / n**0.5

    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    m, n = matrix.shape
    for k in (32, 128):
        if k < n and (found := torch.linalg.matrix_rank(matrix @ some(n, k), atol=noise, rtol=1e-13).item()) < k:
            return found
    if m > 2 * n:
        matrix = some(m, 2 * n).T @ matrix
    return torch.linalg.matrix_rank(matrix, atol=noise, rtol=1e-13).item()


# -- bytes and seconds -------------------------------------------------------------------------------------------------


def kept_bytes(run: Callable[[], Tensor], model: nn.Module | None = None) -> int:
    """Bytes that autograd keeps for the backward pass of what `run` computes, those of the model itself not counted.

    >>> kept_bytes(lambda: method.loss(model, x, y), model)
    """
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]} if model else set()
    boxes = weakref.WeakSet()  # autograd holds what `pack` returns for as long as it needs it: those left at the end

    def pack(t: Tensor) -> _Box:
        boxes.add(box := _Box(t))
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        result = run()  # noqa: F841  as long as it lives, so does what was kept for it
    storages = {s.data_ptr(): s.nbytes() for s in (box.tensor.untyped_storage() for box in boxes)}
    return sum(size for address, size in storages.items() if address not in own)


class _Box:
    """A tensor that can be watched: tensors themselves are no members of a WeakSet, they compare by value."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def times(*steps: Callable[[], object], rounds: int = 15, warmup: int = 3) -> Tensor:
    """Seconds that each of the steps takes, in turns, so that a slow moment of the machine meets them all.

    -> (steps, rounds); the first `warmup` turns are not counted.
    """
    seconds = torch.empty(len(steps), warmup + rounds)
    for turn in range(warmup + rounds):
        for i, step in enumerate(steps):
            _wait()
            began = time.perf_counter()
            step()
            _wait()
            seconds[i, turn] = time.perf_counter() - began
    return seconds[:, warmup:]


def training_step(loss: Callable[[], Tensor], model: nn.Module) -> Callable[[], None]:
    """All that a step of training does, to be timed: the loss, its gradients, AdamW (fused) on what trains.

    >>> times(training_step(lambda: method.loss(model, x, y), model))
    """
    optimizer = torch.optim.AdamW(trainable(model).values(), 1e-4, fused=True)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _wait() -> None:
    if torch.cuda.is_available():  # a GPU works on after the call has returned
        torch.cuda.synchronize()
