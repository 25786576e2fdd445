"""FAR, Freeze And Reconfigure (Vucetic et al., 2022, arXiv 2205.01541): of the MLPs, train the rows that move most.

    1. prime         train everything for a moment
    2. select        m_o = |W_o - W0_o|_1 for each node o of an MLP's Linear: a row of W and its number of b
    3. reconfigure   the rho nodes that moved most are learners, the others freeze as they are
    4. train         W' = W with the learners' rows replaced by W_t          W_t: (rho d_out, d_in)

Written with two Linears, as on an edge device, the result is concat(W_t x + b_t, W_f x + b_f) with its outputs put back
in order.  The survey's listing leaves that permutation out; without it the next layer reads the wrong features.
Attention, norms and embeddings train on: at rho = 10% FAR trains 62% of DistilBERT, not the survey's 6%.

What becomes of the frozen nodes we could not verify: the paper's text was not at hand, only its abstract and notes of
its readers.  Here they keep what priming gave them, as training goes on from there.  `rewind=True` gives them their
pre-trained values back; then a delta holds the learners' rows alone, and not the rest of the MLPs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..method import Method, Stage
from ..surgery import base_state, detach, held, inside, originals, reparametrize, thaw, thawed


class Rows(nn.Module):
    """W -> `others`, or W itself, with the rows `rows` replaced by `values`, which train.  A bias has a row a node."""

    def __init__(self, rows: Tensor, values: Tensor, others: Tensor | None = None):
        super().__init__()
        self.register_buffer("rows", rows)
        self.register_buffer("others", others)
        self.values = nn.Parameter(values)

    def forward(self, weight: Tensor) -> Tensor:
        return (weight if self.others is None else self.others).index_copy(0, self.rows, self.values)


@dataclass(frozen=True)
class FAR(Method):
    """Train a `share` of the nodes of each MLP's Linears, and all that isn't an MLP.  `attach` alone is the priming."""

    share: float = 0.1
    priming: float = 0.1  # this share of all steps
    rewind: bool = False  # the rows that freeze go back to their pre-trained values: less to store

    in_place: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1 or not 0 < self.priming < 1:
            given = f"{self.share} and {self.priming}"
            raise ValueError(f"share must be above 0 and at most 1, priming between 0 and 1, not {given}")

    def insert(
        self, model: nn.Module, rows: Mapping[str, Tensor] | None = None, primed: Mapping[str, Tensor] | None = None
    ) -> None:
        """Everything thaws; given rows, only those of the MLPs train, from their values in `primed`."""
        for name, part, key, _ in originals(model):
            if rows is None or not inside(name).startswith("mlp."):
                thaw(part, key)

        def reconfigure(name: str, weight: Tensor) -> Rows | None:
            if rows is None or name not in rows:
                return None
            primed_weight = weight.detach() if primed is None else primed[name]
            return Rows(rows[name], primed_weight[rows[name]], None if self.rewind else primed_weight)

        reparametrize(model, reconfigure)

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        rows = held(model, state, "rows")
        for name, value in base_state(model).items():
            if name in rows:
                r, n = rows[name], len(value)
                if r.dtype != torch.int64 or r.ndim != 1 or not len(r) or r.min() < 0 or r.max() >= n:
                    raise ValueError(f"the rows of {name} should be numbers from 0 to {n - 1}, as int64")
        plain = {name.replace(".base", "") for name in state}
        priming = any(inside(name).startswith("mlp.") and name in plain for name, _, _, _ in originals(model))
        self.attach(model, None if priming else rows)

    def stages(self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        self.attach(model)
        yield Stage("prime", self.priming)
        before, rows = base_state(model), {}
        primed = {name: p.detach().clone() for name, _, _, p in originals(model)}
        for name, value in primed.items():
            part, _, key = name.rpartition(".")
            if inside(part).startswith("mlp.") and key == "weight":
                moved = (value - before[name]).abs().sum(1)  # (d_out,)
                learners = moved.topk(max(1, round(self.share * len(moved)))).indices.sort().values
                rows |= {n: learners.clone() for n in (name, f"{part}.bias") if n in primed}
        self.attach(detach(model), rows, primed)
        with torch.no_grad():
            for name, part, key, p in originals(model):
                if key in thawed(part):
                    p.copy_(primed[name])
        yield Stage("train", 1 - self.priming)
