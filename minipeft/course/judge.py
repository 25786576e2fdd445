"""What a check says: fresh inputs, a comparison with the right answer, and a message in three parts.

    what was called      lora_linear(x: b=2 t=3 d_in=5, W: d_out=7 d_in=5, ..., alpha=6.1)
    what came back       values are wrong from [0, 0, 0] on: 0.31 instead of 0.52; ...
    the likely mistake   alpha / r scales the frozen path too      (if a known wrong answer does just the same)

A check is a function of a submission and of `cases`:

    def test_lora_linear(submission, cases):
        for case in cases("b t d_in d_out", r=2):
            same(submission.lora_linear, reference, x=case("b t d_in"), ..., alpha=case.number(3, 9))
"""

import math
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .runner.answers import gradients

TOLERANCE = 1e-5  # times the size of the expected numbers, or 1 if they are smaller
LONGEST = 2000  # characters of one part of a message


class Wrong(AssertionError):
    """A refusal.  `evidence` is what it rests on; two answers with the same evidence have the same mistake.

    `state` is "wrong" for an answer that isn't right, "missing" without a function, "broken" without a file that can be
    read, "time" or "died" where no answer came.
    """

    def __init__(self, found: str, evidence: Any, called: str = "", state: str = "wrong"):
        found, called = shortened(found, LONGEST), shortened(called, LONGEST)
        super().__init__(found)
        self.found, self.evidence, self.called, self.state = found, evidence, called, state
        self.mistake: str | None = None
        self.seed: int | None = None

    def __str__(self) -> str:
        return "\n".join(f"{label}: {text}" for label, text in self.parts())

    def parts(self) -> list[tuple[str, str]]:
        parts = [("What was called", self.called), ("What came back", self.found)]
        parts += [("The likely mistake", self.mistake or "")]
        parts += [("The same inputs again", f"seed={self.seed}" if self.seed is not None else "")]
        return [(label, text) for label, text in parts if text]


class Unwritten(Wrong):
    """There is no answer yet."""

    def __init__(self, found: str, evidence: Any, called: str = ""):
        super().__init__(found, evidence, called, "unwritten")


# -- fresh inputs -----------------------------------------------------------------------------------------------------


class Case:
    """Sizes for the letters of one call, and a source of inputs of these sizes."""

    def __init__(self, sizes: dict[str, int], seed: int):
        self.sizes, self._random = sizes, random.Random(seed)
        self._torch = torch.Generator().manual_seed(seed)

    def __getitem__(self, letter: str) -> int:
        return self.sizes[letter]

    def __call__(self, axes: str) -> Tensor:
        """Normal numbers of a named shape, such as case("b t d_in"); failures repeat the names."""
        x = torch.randn([self.sizes[letter] for letter in axes.split()], generator=self._torch)
        x.axes = axes
        return x

    def number(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return self._random.randint(low, high)


class Cases:
    """Cases that only the seed decides.  All sizes in a case differ, so that a transposed answer shows."""

    def __init__(self, seed: int):
        self.seed, self._random = seed, random.Random(seed)

    def __call__(self, letters: str = "", count: int = 3, **fixed: int) -> Iterator[Case]:
        """`count` cases with sizes from 3 to 9 for the letters, and the fixed ones beside them."""
        names = letters.split()
        for _ in range(count):
            free = [n for n in range(3, 10) if n not in fixed.values()]
            yield Case(
                dict(zip(names, self._random.sample(free, len(names)), strict=True)) | fixed,
                self._random.getrandbits(32),
            )


# -- comparison -------------------------------------------------------------------------------------------------------


def copy(value: Any) -> Any:
    """A deep copy of tensors, numbers, strings and lists of them: a call on it can't touch the original."""
    if isinstance(value, Tensor):
        new = value.detach().clone()
        if hasattr(value, "axes"):
            new.axes = value.axes
        return new
    if isinstance(value, (list, tuple)):
        return type(value)(copy(v) for v in value)
    return {k: copy(v) for k, v in value.items()} if isinstance(value, dict) else value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def close(a: float, b: float, tolerance: float = TOLERANCE) -> bool:
    """The same number; up to the tolerance if one of them may be rounded."""
    if a == b or isinstance(a, int) and isinstance(b, int):
        return a == b
    largest = sys.float_info.max  # a whole number may be larger: it has no float
    return abs(a) <= largest and abs(b) <= largest and math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def alike(a: Any, b: Any) -> bool:
    """The same answer: equal up to the tolerance, a list or a tuple, a number or a tensor without axes."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and not _tensor_fault(a, b, nan=True)
    a, b = (x.item() if isinstance(x, Tensor) and not x.ndim else x for x in (a, b))
    if is_number(a) and is_number(b):
        return close(a, b) or (a != a and b != b)  # nan is not itself
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


def shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def shapes(value: Any) -> str:
    """An argument or a result in words: "b=2 t=3 d_in=5" for a tensor with named axes."""
    if isinstance(value, Tensor):
        if axes := getattr(value, "axes", None):
            return " ".join(f"{letter}={n}" for letter, n in zip(axes.split(), value.shape, strict=True))
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"of {int(value.bit_length() * math.log10(2)) + 1:,} digits"
    if isinstance(value, str):
        value = value[:80]  # its quotes make it longer than that
    return shortened(f"({', '.join(map(shapes, value))})" if isinstance(value, tuple) else repr(value), 80)


def kind(value: Any) -> str:
    if value is None:
        return "nothing (None): is there a `return`?"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    return f"{name} {shapes(value)}" if not isinstance(value, (list, tuple, dict)) else f"a {name} of {len(value)}"


def call_text(name: str, arguments: dict[str, Any]) -> str:
    def shown(key: str, value: Any) -> str:
        return f"{key}: {shapes(value)}" if isinstance(value, Tensor) else f"{key}={shapes(value)}"

    return f"{name}({', '.join(shown(k, v) for k, v in arguments.items())})"


def fault(got: Any, expected: Any, tolerance: float = TOLERANCE, letters: dict[int, str] | None = None) -> str | None:
    """What is wrong with an answer, the coarsest first (type, shape, dtype, finiteness, values); None if nothing is.

    `letters` names the sizes that are known, {3: "d_in"}.
    """
    if isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)):
            return f"{kind(got)}, where a list or a tuple of {len(expected)} values was expected"
        if len(got) != len(expected):
            return f"{kind(got)}, where {len(expected)} values were expected"
        for i, (g, e) in enumerate(zip(got, expected, strict=True)):
            if found := fault(g, e, tolerance, letters):
                return f"value {i + 1} of {len(expected)}: {found}"
        return None
    if isinstance(expected, Tensor) and not expected.ndim and is_number(got):
        expected = expected.item()
    if isinstance(expected, Tensor):
        if not isinstance(got, Tensor):
            return f"{kind(got)}, where a tensor of shape {tuple(expected.shape)} was expected"
        if got.shape != expected.shape:
            named = [(letters or {}).get(n, str(n)) for n in expected.shape]
            meaning = f", that is ({', '.join(named)})," if letters else ""
            return f"shape {tuple(got.shape)}, where {tuple(expected.shape)}{meaning} was expected"
        if got.dtype != expected.dtype:
            return f"numbers of {got.dtype}, where {expected.dtype} was expected"
        return _tensor_fault(got, expected, tolerance)
    if isinstance(got, Tensor) and got.ndim == 0:
        got = got.item()
    if not is_number(expected):
        right = type(got) is type(expected) and got == expected
    elif isinstance(expected, int):
        right = is_number(got) and got == expected
    else:
        right = is_number(got) and close(got, expected, tolerance)
    return None if right else f"{kind(got)}, where {shapes(expected)} was expected"


def _tensor_fault(got: Tensor, expected: Tensor, tolerance: float = TOLERANCE, nan: bool = False) -> str | None:
    if got.dtype.is_floating_point and not nan and not got.isfinite().all():
        bad = (~got.isfinite()).nonzero()
        return f"{len(bad)} of {got.numel()} numbers are nan or infinite, the first at {bad[0].tolist()}"
    got64, expected64 = got.double(), expected.double()
    difference = (got64 - expected64).abs()
    if nan:
        equal = (got64 == expected64) | got64.isnan() & expected64.isnan()
        difference = difference.masked_fill(equal, 0)
    finite = expected64[expected64.isfinite()].abs()
    allowed = tolerance * max(1.0, finite.max().item() if finite.numel() else 1.0)
    bad = (~(difference <= allowed)).nonzero()  # nan is neither more nor less
    if not len(bad):
        return None
    first = tuple(bad[0].tolist())
    return (
        f"the right shape, but wrong values: at {list(first)} {got64[first].item():.6g} instead of "
        f"{expected64[first].item():.6g}; {len(bad)} of {got.numel()} numbers differ by more than {allowed:.1g}, "
        f"the largest difference is {difference.max().item():.3g}"
    )


def letters(arguments: dict[str, Any]) -> dict[int, str]:
    """{size: its letter} of named axes; the sizes of a case all differ."""
    named = [value for value in arguments.values() if hasattr(value, "axes")]
    return {n: letter for x in named for letter, n in zip(x.axes.split(), x.shape, strict=True)}


# -- what checks call -------------------------------------------------------------------------------------------------


def same(call: Any, reference: Callable, tolerance: float = TOLERANCE, **arguments: Any) -> Any:
    """The submission's answer, if it is what `reference` computes; raises Wrong if not.

    The reference works first and on copies.  Arguments are passed by position: the learner may name them otherwise.
    """
    expected = reference(*copy(list(arguments.values())))
    got = call(**arguments)
    if found := fault(got, expected, tolerance, letters(arguments)):
        raise Wrong(found, ("value", got), call_text(call.name, arguments))
    return got


def same_gradients(call: Any, reference: Callable, wrt: str, tolerance: float = TOLERANCE, **arguments: Any) -> None:
    """The gradients of half the answer's squared sum with respect to the arguments named in `wrt`, such as "A B"."""
    names = wrt.split()
    expected = gradients(reference, names, copy(arguments))
    got = call.gradients(names, **arguments)
    for name in names:
        found = fault(got[name], expected[name], tolerance)
        if found and got[name] is None:
            found = "none arrives; was something detached, or computed without gradients?"
        if found:
            raise Wrong(f"the gradient of {name}: {found}", ("gradients", got), call_text(call.name, arguments))


def require(condition: bool, claim: str, observed: str, called: str = "") -> None:
    """For answers that aren't one right value.  `claim` is what should hold, `observed` what does, with its numbers."""
    if not condition:
        raise Wrong(f"{observed}; {claim}", ("claim", claim), called)


def tensors(answer: Any, meaning: str, called: str, **expected: tuple[int, ...]) -> list[Tensor]:
    """The parts of an answer that isn't one right value: finite numbers of fp32 in these shapes and in this order.

    `meaning` says them in letters, "A (r, d_in) and B (d_out, r)".  Raises Wrong if something is missing.
    """
    several = isinstance(answer, (list, tuple)) and len(answer) == len(expected)
    several = several and all(isinstance(x, Tensor) for x in answer)
    require(several, f"{len(expected)} tensors are expected, {meaning}", f"got {kind(answer)}", called)
    got = [tuple(x.shape) for x in answer]
    require(got == list(expected.values()), f"{meaning} are expected", f"got {' and '.join(map(str, got))}", called)
    for name, x in zip(expected, answer, strict=True):
        require(x.dtype == torch.float32, f"{name} should be of torch.float32", f"{name} is of {x.dtype}", called)
        require(bool(x.isfinite().all()), f"{name} should be finite", f"{name} has numbers that are nan or inf", called)
    return list(answer)
