"""The exercises of lesson 02, where memory goes, and their checks.  The right answers are measured, not computed."""

import functools
import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minipeft.course.exercise import exercise
from minipeft.course.judge import Wrong, call_text, fault, same
from minipeft.gpt import GPT, MLP, Config
from minipeft.measure import kept_bytes
from minipeft.surgery import Serial, freeze

STORED = {4: torch.float32, 2: torch.bfloat16, 1: torch.uint8, 0.5: torch.uint8}  # 4 bits: two numbers to a byte


def all_same(call: Callable, reference: Callable, calls: list[dict]) -> None:
    """`same` for several calls.  The evidence is all answers together: mistakes may agree in one of them."""
    answers = [call(**arguments) for arguments in calls]
    for arguments, answer in zip(calls, answers, strict=True):
        if found := fault(answer, reference(**arguments)):
            raise Wrong(found, ("values", answers), call_text(call.name, arguments))


def reference_step(frozen: int, trained: int, base_bytes: float, activations: int) -> float:
    """One step of AdamW, done with tensors that have a size and no memory: the largest models fit."""
    base = torch.empty(int(frozen * min(1, base_bytes)), dtype=STORED[base_bytes], device="meta")
    part = nn.Parameter(torch.empty(trained, device="meta"))
    optimizer = torch.optim.AdamW([part])
    part.sum().backward()
    optimizer.step()
    states = [s for s in optimizer.state[part].values() if s.numel() == trained]
    return sum(t.nbytes for t in (base, part, part.grad, *states)) + activations


@exercise(
    "02.1",
    "A step in bytes",
    difficulty=1,
    minutes=5,
    points=5,
    reference=reference_step,
    hints=(
        "Which of weight, gradient, first average and second average does a frozen number have, and which a trained?",
        "A frozen number has its weight and nothing else. A trained number has four tensors of fp32 to live in. "
        "Activations are there once, whatever trains.",
        "return frozen * base_bytes + trained * (4 + ...) + activations",
    ),
)
def test_step_bytes(submission, cases):
    calls = [
        dict(
            frozen=2 * case.integer(100, 900),
            trained=case.integer(11, 99),
            base_bytes=base_bytes,
            activations=case.integer(1000, 5000),
        )
        for case, base_bytes in zip(cases(count=4), (2, 4, 1, 0.5), strict=True)
    ]
    all_same(submission.step_bytes, reference_step, calls)


def reference_linear(x_needs: bool, W_trains: bool, bias_trains: bool) -> tuple[bool, bool]:
    """Asked of autograd, with a real Linear."""
    x, W, bias = torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)
    for tensor, flag in ((x, x_needs), (W, W_trains), (bias, bias_trains)):
        tensor.requires_grad_(flag)
    kept = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda s: kept.add(s.data_ptr()), lambda s: s):
        F.linear(x, W, bias)
    return x.data_ptr() in kept, W.data_ptr() in kept


@exercise(
    "02.2",
    "What a Linear keeps",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_linear,
    hints=(
        "Which of the three gradients in the docstring has x in it, and which has W in it?",
        "A tensor is kept only if a gradient that is needed is computed from it. The gradient of the bias needs "
        "neither x nor W.",
        "return W_trains, ...",
    ),
)
def test_linear_keeps(submission, cases):
    flags = itertools.product((True, False), repeat=3)
    calls = [dict(x_needs=x, W_trains=W, bias_trains=bias) for x, W, bias in flags]
    all_same(submission.linear_keeps, reference_linear, calls)


def reference_mlp(n: int, d: int, f: int, x_needs: bool, up_trains: bool, down_trains: bool, size: int) -> int:
    """Measured, with the model's own MLP."""
    mlp = MLP(Config(width=d, heads=1, hidden=f)).to(STORED[size])
    freeze(mlp)
    mlp.up.weight.requires_grad_(up_trains)
    mlp.down.weight.requires_grad_(down_trains)
    x = torch.ones(n, d, dtype=STORED[size], requires_grad=x_needs)
    return kept_bytes(lambda: mlp(x), mlp)


@exercise(
    "02.3",
    "What an MLP keeps",
    difficulty=2,
    minutes=10,
    points=5,
    reference=reference_mlp,
    hints=(
        "Three tensors could be kept: x, up(x) and gelu(up(x)). For each: which gradient is computed from it?",
        "x is for the gradient of up.weight. up(x) is for the way back through gelu, which is gone only if something "
        "below gelu waits for a gradient. gelu(up(x)) is for the gradient of down.weight.",
        "numbers = up_trains * n * d + (x_needs or up_trains) * ... + ...",
    ),
)
def test_mlp_keeps(submission, cases):
    flags = itertools.product((True, False), repeat=3)
    calls = [
        dict(
            **{letter: case[letter] for letter in "ndf"},
            x_needs=x_needs,
            up_trains=up_trains,
            down_trains=down_trains,
            size=(2, 4)[case.integer(0, 1)],
        )
        for case, (x_needs, up_trains, down_trains) in zip(cases("n d f", count=8), flags, strict=True)
    ]
    all_same(submission.mlp_keeps, reference_mlp, calls)


def reference_batch(
    memory: int, fixed: int, t: int, layers: int, stream: int, block: int, recompute: bool = False
) -> int:
    """Tried, one text more at a time: what is held at every moment of the backward pass has to fit."""

    def fits(b: int) -> bool:
        inputs, rest = b * t * stream, b * t * block
        moments = [(i + 1) * inputs + (1 if recompute else i + 1) * rest for i in range(layers)]
        return fixed + max(moments) <= memory

    b = 0
    while fits(b + 1):
        b += 1
    return b


@exercise(
    "02.4",
    "The largest batch",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_batch,
    hints=(
        "What does one text more cost, without recomputation? And what is left for texts, once `fixed` is paid?",
        "A text costs t times what its tokens keep in all blocks. With recomputation `stream` is still kept in every "
        "block, `block` in one. Count whole texts only, and never fewer than none.",
        "return max(0, (memory - fixed) // (t * ...))",
    ),
)
def test_largest_batch(submission, cases):
    calls = []
    for case, recompute in zip(cases("t layers stream", count=4), (False, True, False, True), strict=True):
        t, layers, stream = case["t"], case["layers"], case["stream"]
        block, fixed = case.integer(20, 60), case.integer(5000, 9000)
        text = t * (layers * stream + (1 if recompute else layers) * block)
        for room in (
            case.integer(3, 9) * text + case.integer(1, text - 1),
            case.integer(3, 9) * text,  # to the last byte
            -case.integer(text + 1, 3 * text),  # not even the model
        ):
            sizes = dict(memory=fixed + room, fixed=fixed, t=t, layers=layers, stream=stream, block=block)
            calls.append(sizes | dict(recompute=recompute))
    all_same(submission.largest_batch, reference_batch, calls)


def reference_blocks(layers: int, trained: list[int]) -> int:
    """Counted, in a model of so many blocks."""
    return count_blocks(layers, frozenset(trained))


@functools.cache
def count_blocks(layers: int, trained: frozenset[int]) -> int:
    model = GPT(Config(vocab=5, context=4, layers=layers, heads=1, width=2))
    freeze(model)
    for i in trained:
        model.trunk[i].requires_grad_(True)
    keeping, x = 0, model.embed(torch.zeros(1, 2, dtype=torch.long))
    for block in model.trunk:
        count = []
        with torch.autograd.graph.saved_tensors_hooks(count.append, lambda s: s):
            x = block(x)
        keeping += bool(count)
    return keeping


@exercise(
    "02.5",
    "Predict: freeze most blocks",
    difficulty=1,
    minutes=3,
    points=3,
    reference=reference_blocks,
    hints=(
        "The gradient starts at the head. Through which blocks must it go to reach every block that trains?",
        "It goes down to the lowest block that trains and no further. A frozen block on the way keeps what the way "
        "back through it needs.",
        "return layers - ...",
    ),
)
def test_blocks_keeping(submission, cases):
    calls = []
    for case in cases():
        layers = case.integer(6, 9)
        low = case.integer(1, layers - 4)
        high = low + case.integer(1, 2)
        calls += [dict(layers=layers, trained=trained) for trained in ([low, high], [high, low], [layers - 1])]
    calls.append(dict(layers=layers, trained=list(range(layers))))
    all_same(submission.blocks_keeping, reference_blocks, calls)


def reference_folded(W: Tensor, bias: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Read off the library's `Serial`: what it makes of zero is the bias, and of each unit vector, a column."""
    (d_out, d_in), r = W.shape, len(A)
    base = nn.Linear(d_in, d_out)
    branch = nn.Sequential(nn.Linear(d_out, r, bias=False), nn.Linear(r, d_out, bias=False))
    serial = Serial(base, branch)
    for part, value in ((base.weight, W), (base.bias, bias), (branch[0].weight, A), (branch[1].weight, B)):
        part.data = value
    serial.double()
    with torch.no_grad():
        at_zero = serial(torch.zeros(d_in).double())
        columns = serial(torch.eye(d_in).double()) - at_zero
    return columns.T.to(W.dtype), at_zero.to(bias.dtype)


@exercise(
    "02.6",
    "Folded: a branch behind a Linear",
    difficulty=2,
    minutes=7,
    points=4,
    reference=reference_folded,
    hints=(
        "Put h = W x + bias into y = h + B (A h) and multiply out. What stands before x, and what stands alone?",
        "y = (I + B A) (W x + bias). Both W and the bias are multiplied by the same matrix.",
        "return W + B @ (A @ W), ...",
    ),
)
def test_folded(submission, cases):
    for case in cases("d_in d_out", r=2):
        same(
            submission.folded,
            reference_folded,
            W=case("d_out d_in"),
            bias=case("d_out"),
            A=case("r d_out"),
            B=case("d_out r"),
        )
