"""Checks judge, in the process that holds the marks, whatever comes back from a learner's.

Odd answers: each is refused with a sentence, quickly, and none makes a check fail.  Right answers in an unusual form:
each passes.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minipeft.course.exercise import Exercise, exercises
from minipeft.course.judge import Wrong, alike, fault
from minipeft.course.runner.answers import Report
from minipeft.course.submission import Asked, Submission

ROOT = Path(__file__).parents[2]
EXERCISES = exercises(ROOT)
by_id = pytest.mark.parametrize("item", EXERCISES, ids=lambda item: item.id)
SEED = 1


@cache
def worked(topic: str) -> Submission:
    return Submission.load(ROOT / "solutions" / f"{topic}.py")


# -- odd answers ------------------------------------------------------------------------------------------------------

ANYTHING = {
    "None": None,
    "True": True,
    "0": 0,
    "-1": -1,
    "10**9": 10**9,
    "10**400": 10**400,
    "10**5000": 10**5000,
    "0.5": 0.5,
    "nan": math.nan,
    "inf": math.inf,
    "empty text": "",
    "long text": "x" * 10**6,
    "list": [],
    "tuple": (),
    "dict": {},
    "[None]": [None],
    "long list": [0] * 10**5,
    "deep list": [[[[[[[["deep"]]]]]]]],
    "keys of all kinds": {0: 1, None: 2, "a": 3, (1, 2): 4},
    "empty tensor": torch.zeros(0),
    "no axes": torch.tensor(0.25),
    "one": torch.ones(1),
    "many axes": torch.ones([1] * 60),
    "bool": torch.ones(2, 3, dtype=torch.bool),
    "int64": torch.ones(2, 3, dtype=torch.long),
    "complex": torch.tensor(1j),
    "no axes, of bf16": torch.tensor(0.25, dtype=torch.bfloat16),
    "float8": torch.ones(3).to(torch.float8_e4m3fn),
    "nothing, of shape": torch.zeros(10**12, 0),
}


def put(x: Tensor, value: float) -> Tensor:
    """One number of it replaced."""
    x = x.clone(memory_format=torch.contiguous_format)
    x.view(-1)[-1] = value
    return x


def nudged(x: Any) -> Any:
    """One number of it off by a hundredth of the largest."""
    if isinstance(x, Tensor):
        if not x.dtype.is_floating_point:
            return put(x, not x.flatten()[-1] if x.dtype == torch.bool else x.flatten()[-1] + 1)
        return put(x, x.flatten()[-1] + 0.01 * max(1.0, x.abs().max().item()))
    if isinstance(x, bool):
        return not x
    return x + (1 if isinstance(x, int) else "x" if isinstance(x, str) else 0.01 * max(1.0, abs(x)))


OF_ANY = {
    "in a list": lambda x: [x],
    "in a dict": lambda x: {"y": x},
    "under a number": lambda x: {0: x},
    "nudged": nudged,
    "nothing": lambda x: None,
    "as text": str,
    "letter by letter": lambda x: list(str(x)),
}
OF_TENSORS = {
    "one axis more": lambda x: x[None],
    "one axis less": lambda x: x[0],
    "one summed": lambda x: x.sum(0, keepdim=True),
    "transposed": lambda x: x.transpose(0, -1),
    "flat": lambda x: x.flatten(),
    "cut": lambda x: x[..., :-1],
    "nested lists": lambda x: x.tolist(),
    "other numbers": lambda x: x.float() if x.dtype == torch.float64 else x.double(),
    "bf16": lambda x: x.bfloat16() if x.dtype != torch.bfloat16 else x.half(),
    "complex": lambda x: x.to(torch.complex64),
    "whole": lambda x: x.long() if x.dtype != torch.long else x.float(),
    "yes or no": lambda x: x.bool() if x.dtype != torch.bool else x.float(),
    "nan": lambda x: put(x.float(), math.nan),
    "inf": lambda x: put(x.float(), -math.inf),
    "huge": lambda x: torch.full_like(x.float(), 1e38),
}
OF_NUMBERS = {
    "complex": lambda x: torch.tensor(x, dtype=torch.complex64),
    "one axis": lambda x: torch.tensor([x]),
    "digits": lambda x: 10**400 + int(x),
    "minus": lambda x: -x - 1,
    "yes or no": bool,
    "nan": lambda x: torch.tensor(math.nan),
}
OF_GRADIENTS = {
    "none": lambda x: None,
    "zero": torch.zeros_like,
    "a number": lambda x: 0.5,
    "text": lambda x: "gradient",
    "nested lists": lambda x: x.tolist(),
    "cut": lambda x: x[..., :-1] if x.ndim else x[None],
    "one axis more": lambda x: x[None],
    "float64": lambda x: x.double(),
    "nan": lambda x: put(x, math.nan),
    "huge": lambda x: torch.full_like(x, 1e38),
    "nudged": nudged,
}


WHOLE = {
    "in a list": lambda right: [right],
    "in a dict": lambda right: {"y": right},
    "under a number": lambda right: {0: right},
    "too few": lambda right: right[:-1],
    "twice": lambda right: right + right,
    "backwards": lambda right: right[::-1],
}


def on(part: int | None, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The change, of one part of an answer that has several."""
    if part is None:
        return change
    return lambda right: type(right)(change(x) if i == part % len(right) else x for i, x in enumerate(right))


def changes(right: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Ways to make an odd answer of the right one, where that is something like `right`."""
    several = isinstance(right, (list, tuple))
    for name in WHOLE if several else list(WHOLE)[:3]:
        yield name, WHOLE[name]
    for part in [None] if not several else range(len(right)) if isinstance(right, tuple) else (0, -1):
        x = right if part is None else right[part]
        number = isinstance(x, (int, float)) and not isinstance(x, bool)
        for name, change in (OF_ANY | (OF_TENSORS if isinstance(x, Tensor) else OF_NUMBERS if number else {})).items():
            if not (isinstance(x, Tensor) and x.ndim == 0 and name in ("one axis less", "one summed", "cut")):
                yield f"{name}, of part {part}", on(part, change)


def means(odd: Any, right: Any) -> bool:
    """Whether it is a right answer all the same: a list for a tuple, 3.0 for 3, a tensor without axes for a number."""
    if isinstance(right, (list, tuple)):
        return isinstance(odd, (list, tuple)) and len(odd) == len(right) and all(map(means, odd, right))
    if isinstance(right, Tensor) and isinstance(odd, Tensor):
        return odd.dtype == right.dtype and odd.shape == right.shape and torch.allclose(odd, right, rtol=1e-6, atol=0)
    odd, right = (x.item() if isinstance(x, Tensor) and x.ndim == 0 else x for x in (odd, right))
    if isinstance(right, (str, bool)):
        return type(odd) is type(right) and odd == right
    number = isinstance(odd, (int, float)) and not isinstance(odd, bool) and isinstance(right, (int, float))
    return number and (odd == right or abs(odd) < 1e300 and math.isclose(odd, right, rel_tol=1e-6))


class Odd(Asked):
    """Right answers, but odd ones from one call on: to all calls for values, or to all for gradients."""

    def __init__(self, item: Exercise, change: Callable[[Any], Any], first: int = 0, gradients: bool = False):
        self.worked, self.change, self.first, self.gradients = worked(item.topic), change, first, gradients
        self.asked, self.right = 0, True

    def ask(self, name: str, arguments: dict[str, Any], wrt: list[str] | None) -> Report:
        report = self.worked.ask(name, arguments, wrt)
        if (wrt is not None) != self.gradients:
            return report
        self.asked += 1
        if self.asked > self.first:
            value = self.change(report["value"])
            if wrt is None:
                self.right &= means(value, report["value"])
            else:
                self.right &= all(means(value[k], report["value"][k]) for k in wrt)
            report |= {"value": value}
        return report


def first_answers(item: Exercise) -> dict[bool, Any]:
    """What the worked answer gives first: {asked for gradients: value}."""
    found = {}

    class Heard(Asked):
        def ask(self, name: str, arguments: dict[str, Any], wrt: list[str] | None) -> Report:
            report = worked(item.topic).ask(name, arguments, wrt)
            found.setdefault(wrt is not None, report["value"])
            return report

    assert item.attempt(Heard(), SEED) is None
    return found


@pytest.fixture
def quick(item: Exercise, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted in a real model is counted once for the same sizes."""

    def remembered(reference: Callable) -> Callable:
        known = {}

        def recall(*args: Any, **kwargs: Any) -> Any:
            sizes = "" if any(isinstance(x, Tensor) for x in args) else repr((args, kwargs))
            if not sizes or "tensor" in sizes:
                return reference(*args, **kwargs)
            if sizes not in known:
                known[sizes] = reference(*args, **kwargs)
            return known[sizes]

        return recall

    around = item.check.__globals__
    for name in [name for name in around if name.startswith("reference_")]:
        monkeypatch.setitem(around, name, remembered(around[name]))


# any number between the bounds is as good as another
AS_GOOD = {("lora_init", "nudged, of part 0")}


def judged(item: Exercise, what: str, submission: Odd, judge: Callable) -> None:
    began = time.process_time()
    refusal = judge(submission, SEED)
    assert time.process_time() - began < 2, what
    assert (refusal is None) == (submission.right or (item.name, what) in AS_GOOD), what
    if refusal:
        assert type(refusal) is Wrong and refusal.state == "wrong" and refusal.found.strip(), what
        for _, text in refusal.parts():
            assert text.strip() and len(text) < 4000 and "Traceback" not in text and " object at 0x" not in text, what


@by_id
def test_odd_answers_are_refused(item, quick):
    first = first_answers(item)[False]
    same = {what: lambda right, value=value: value for what, value in ANYTHING.items()}
    for what, change in (same | dict(changes(first))).items():
        judged(item, what, Odd(item, change), item.attempt)
    for what in ("10**400", "keys of all kinds"):  # compared with the known wrong answers too
        judged(item, what, Odd(item, same[what]), item.judge)


@by_id
def test_odd_answers_after_right_ones_are_refused(item, quick):
    values = [ANYTHING[what] for what in ("None", "10**400", "tuple", "keys of all kinds", "no axes", "long text")]
    for calls in (1, 2):
        for value in values:
            judged(item, f"{value!r:.20}", Odd(item, lambda _, value=value: value, calls), item.attempt)


@by_id
def test_odd_gradients_are_refused(item, quick):
    for name in first_answers(item).get(True, ()):
        for what, change in OF_GRADIENTS.items():

            def other(found: dict, name: str = name, change: Callable = change) -> dict:
                return found | {name: change(found[name])}

            judged(item, f"{what}: {name}", Odd(item, other, gradients=True), item.attempt)


@pytest.mark.parametrize("what", ANYTHING)
def test_odd_arguments_afterwards_are_refused(what):
    """A process that answers may say anything of its arguments."""

    class After(Asked):
        def ask(self, name: str, arguments: dict[str, Any], wrt: list[str] | None) -> Report:
            report = worked("lora").ask(name, arguments, wrt)
            return report | {"after": dict.fromkeys(arguments, ANYTHING[what])}

    item = next(item for item in EXERCISES if item.name == "lora_merged")
    assert "changed" in item.judge(After(), SEED).found


def test_nan_and_infinity_are_compared():
    odd = torch.tensor([math.nan, math.inf, 1.0])
    assert alike(odd, odd.clone()) and not alike(odd, torch.ones(3)) and not alike(odd, -odd)
    assert alike(math.nan, math.nan) and alike(math.inf, math.inf) and not alike(math.inf, -math.inf)
    assert fault(torch.ones(3), odd) and fault(odd, odd) and fault(1.0, math.nan) and fault(math.nan, math.nan)
    assert not alike(10**400, 10**400 + 1) and not alike(10**400, 0.5) and fault(10**400, 0.5) and fault(0.5, 10**400)


def test_a_long_message_is_cut():
    def long(*_: Any) -> None:
        raise ValueError("x" * 10**6)

    item = EXERCISES[0]
    refusal = item.judge(Submission({item.name: long}), SEED)
    assert len(str(refusal)) < 4000 and "ValueError: xxx" in refusal.found and refusal.found.endswith("...")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_of_unusual_kinds_are_refused():
    item = next(item for item in EXERCISES if item.name == "lora_merged")
    kinds = {
        "nested": lambda W: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "meta": lambda W: W.to("meta"),
        "sparse": lambda W: W.to_sparse(),
        "complex": lambda W: (W * 1j).conj(),
        "repeated": lambda W: torch.ones(1, 1).expand(10**6, 1),
    }
    for what, made in kinds.items():
        refusal = item.judge(Submission({item.name: lambda W, A, B, alpha, made=made: made(W)}), SEED)
        assert refusal.state == "wrong" and refusal.found, what


# -- right answers in an unusual form ---------------------------------------------------------------------------------


def over(value: Any, change: Callable[[Any], Any]) -> Any:
    """All that is in lists, tuples and dicts, changed."""
    if isinstance(value, (list, tuple)):
        return type(value)(over(v, change) for v in value)
    return change(value)


def is_float(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def in_double(function: Callable) -> Callable:
    """Computed in fp64, and given back in the types that the answer should have."""

    def other(*args: Any) -> Any:
        shape = function(*args)
        torch.set_default_dtype(torch.double)
        try:
            found = function(*over(args, lambda x: x.double() if is_float(x) else x))
        finally:
            torch.set_default_dtype(torch.float)
        if isinstance(shape, (list, tuple)):
            return [x.to(like.dtype) if isinstance(x, Tensor) else x for x, like in zip(found, shape, strict=True)]
        return found.to(shape.dtype) if isinstance(shape, Tensor) else found

    return other


class Backwards(TorchFunctionMode):
    """Products of matrices add up their terms from the last to the first."""

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function in (torch.matmul, Tensor.matmul, Tensor.__matmul__):
            a, b = args
            args = a.flip(-1), b.flip(-1 if b.ndim == 1 else -2)
        return function(*args, **(kwargs or {}))


def in_another_order(function: Callable) -> Callable:
    def other(*args: Any) -> Any:
        with Backwards():
            return function(*args)

    return other


def made(change: Callable[[Any], Any]) -> Callable[[Callable], Callable]:
    return lambda function: lambda *args: over(function(*args), change)


def strided(x: Any) -> Any:
    """Every second number of a larger tensor, which still learns."""
    if not is_float(x):
        return x
    return torch.stack([x + torch.zeros((), dtype=x.dtype, requires_grad=True), x], -1)[..., 0]


def parameter(x: Any) -> Any:
    return nn.Parameter(x) if is_float(x) and not x.requires_grad else x


def lone_tensor(x: Any) -> Any:
    return torch.tensor(x) if isinstance(x, (bool, int, float)) else x


def of_numpy(x: Any) -> Any:
    for exact, kind in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if type(x) is exact:
            return kind(x)
    return x


def with_a_point(x: Any) -> Any:
    return float(x) if type(x) is int else x


def number(x: Any) -> Any:
    return x.item() if isinstance(x, Tensor) and not x.ndim and not x.requires_grad else x


def exchanged(function: Callable) -> Callable:
    def other(*args: Any) -> Any:
        found = function(*args)
        kinds = {list: tuple, tuple: list}
        return kinds[type(found)](found) if type(found) in kinds else found

    return other


UNUSUAL = {
    "fp64": in_double,
    "another order": in_another_order,
    "strided, and learning": made(strided),
    "parameters": made(parameter),
    "tensors without axes": made(lone_tensor),
    "of NumPy": made(of_numpy),
    "with a point": made(with_a_point),
    "numbers": made(number),
    "lists and tuples": exchanged,
}


@by_id
def test_unusual_right_answers_pass(item, quick):
    function = worked(item.topic).function(item.name)
    for what, change in UNUSUAL.items():
        assert item.attempt(Submission({item.name: change(function)}), SEED) is None, what


def gives_floats(item: Exercise) -> bool:
    return "float" in str(worked(item.topic).function(item.name).__annotations__["return"])


@pytest.mark.parametrize("item", [*filter(gives_floats, EXERCISES)], ids=lambda item: item.id)
def test_floats_may_be_computed_in_fp32(item, quick):
    """The numbers that come in, as tensors of fp32 hold them."""
    function = worked(item.topic).function(item.name)

    def rounded(*args: Any) -> Any:
        return function(*over(args, lambda x: torch.tensor(x).item() if isinstance(x, float) else x))

    for seed in range(20):
        assert item.attempt(Submission({item.name: rounded}), seed) is None, seed


@pytest.mark.parametrize("name", ["lora_count", "lora_gradients", "ipt_explained"])
def test_a_known_mistake_in_an_unusual_form_earns_its_hint(name):
    item = next(item for item in EXERCISES if item.name == name)
    for known in item.wrong_answers():
        for what in ("of NumPy", "with a point", "numbers", "lists and tuples"):
            refusal = item.judge(Submission({name: UNUSUAL[what](known)}), SEED)
            assert refusal.mistake == known.hint, (known.__name__, what)
