"""S4 (Chen et al., 2023, arXiv 2301.01821, section 4): which method in which layers, as found by search.

    layers, from the input up, in four groups:    G1    G2    G3    G4        few, more, more, few: a spindle
    A adapters  L LoRA                            A L   A P   A P B P B L
    P prefix    B biases

What a share of the model's numbers allows is given to all layers alike, so a group has as much as it has layers; in a
layer the methods of its group get equal parts of it, after the biases, whose number is fixed.  From a layer's part come
the adapter's size m, the rank r and the prefix's length n, rounded down:

    A   2 d m + m + d        L   r (2 d + d_q + d_kv) for q and v        P   2 n d_kv        B   all biases of the block

The search was on T5-base, one choice after another on random samples: groups, then how much for each layer, then which
groups train, then the methods.  We found neither the groups' exact sizes nor how a layer's part is divided: here
a group in the middle is twice as long as one at an end.  The survey gives the groups as if they had been chosen.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar

from torch import Tensor, nn

from ..additive.adapters import Adapters
from ..additive.prefix_tuning import PrefixTuning
from ..gpt import GPT
from ..method import Method
from ..reparametrization.lora import LoRA, LowRank
from ..selective.bitfit import BitFit
from ..surgery import Parallel, base_state, find, inner, walk


def spindle(layers: int, groups: int) -> list[range]:
    """Consecutive runs of layers, those in the middle about twice as long as the first and the last.

    >>> spindle(12, 4)
    [range(0, 2), range(2, 6), range(6, 10), range(10, 12)]
    """
    *cuts, whole = accumulate([1, *[2] * (groups - 2), 1] if groups > 1 else [1])
    return [range(a, b) for a, b in pairwise([0, *(round(layers * cut / whole) for cut in cuts), layers])]


def biases(model: nn.Module) -> int:
    """How many numbers the biases of one block have, those of Linears that lack one included."""
    (block,) = find(model, "block", [0]).values()
    parts = [inner(part) for _, _, part in walk(block)]
    return sum(len(m.weight) for m in parts if isinstance(m, nn.Linear) or getattr(m, "bias", None) is not None)


@dataclass(frozen=True)
class S4(Method):
    """Train what the plan says in each group of layers, a `share` of the model's numbers in all; the paper's is 0.005.

    On a model without biases, B adds zero ones.
    """

    plan: Collection[str] = ("AL", "AP", "APB", "PBL")  # for each group, from the input up
    share: float = 0.02

    lr: ClassVar[float] = 3e-3
    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "its adapters and prefixes are no weights, LoRA alone folds"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.plan or any(not set(g) <= set("APBL") or len(set(g)) < max(1, len(g)) for g in self.plan):
            raise ValueError(f"a plan has a word of the letters A, P, B and L for each group, not {self.plan}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {self.share}")

    def parts(self, model: GPT) -> Iterator[Method]:
        """The methods of all groups, with the number that its part of a layer allows each."""
        c, total = model.c, sum(value.numel() for value in base_state(model).values())
        d, d_q, d_kv = c.width, c.heads * c.head_width, c.kv_heads * c.head_width
        fixed, each = {"A": d}, {"A": 2 * d + 1, "L": 2 * d + d_q + d_kv, "P": 2 * d_kv}
        groups = spindle(c.layers, len(self.plan))
        if not all(groups):
            raise ValueError(f"a plan of {len(self.plan)} groups is too long for a model of {c.layers} layers")
        for letters, layers in zip(self.plan, groups, strict=True):
            others, bias = letters.replace("B", ""), biases(model) * ("B" in letters)
            part = (self.share * total / c.layers - bias) / max(1, len(others))
            n = {letter: int(part - fixed.get(letter, 0)) // each[letter] for letter in others}
            if part < 0 or min(n.values(), default=1) < 1:
                least = bias + len(others) * max((fixed.get(x, 0) + each[x] for x in others), default=0)
                reason = f"{letters} takes {least:,} numbers a layer or more, and the share of {self.share} is less"
                raise ValueError(f"{reason}: it must be at least {c.layers * least / total:.4f}")
            makers = {
                "A": lambda n, layers: Adapters(n, "pfeiffer", layers=layers),
                "L": lambda n, layers: LoRA(n, layers=layers),
                "P": lambda n, layers: PrefixTuning(n, hidden=None, layers=layers),
                "B": lambda n, layers: BitFit(add=True, layers=layers),
            }
            yield from (makers[letter](n.get(letter), layers) for letter in letters)

    def insert(self, model: GPT) -> None:
        for method in list(self.parts(model)):
            if isinstance(method, PrefixTuning):
                method.put(model)  # not its insert: several groups' prefixes would each move the text further
            else:
                method.insert(model)

    def restore(self, model: GPT, state: Mapping[str, Tensor]) -> None:
        super().restore(model, state)
        saved = {name.replace(".base", "") for name in state}
        for path, part in list(model.named_modules()):  # what was folded into the base before it was saved
            if isinstance(part, Parallel) and isinstance(part.branch, LowRank):
                if f"{path}.branch.A".replace(".base", "") not in saved:
                    model.set_submodule(path, part.base)
