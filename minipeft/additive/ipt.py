"""Intrinsic Prompt Tuning (Qin et al., 2021, arXiv 2110.07867): search a small space of prompts.

    prompts of other tasks    P_i                                      tuned one by one: (n, d) each
    the subspace              P*_i = D(E P_i + e)                      E: (k, n d), k numbers in the middle
                              lowers L(P*_i) + alpha mean (P*_i - P_i)^2
    the new task              P = D(z) = W_2 tanh(W_1 z + b_1) + b_2   z: (k,), the only thing that trains now

If tasks have something in common, the few numbers that tell their prompts apart should also be enough for a task that
had no part in the subspace; so the paper asks, and holds such tasks out.  The encoder E has done its work then.  D
stays, frozen, and is far larger than the prompt that it makes: this is a way to study prompts, not to save numbers.

The survey's pseudocode trains the autoencoder on its reconstruction error alone; in the paper the loss L of the frozen
model behind the prompt P*_i is part of it, and E is one matrix without a nonlinearity.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import safetensors.torch
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import SafetensorError
from torch import Tensor, nn

from ..gpt import GPT
from ..method import IGNORE, Method, Stage
from ..surgery import make_room, wrap
from ..tasks import NAMES, load, own
from ..tasks.task import batches as batches_of
from ..tasks.task import encode
from ..tokenizer import Tokenizer
from .prompt_tuning import Prompt, Prompted, PromptTuning

Batch = tuple[Tensor, Tensor]


class Decoder(nn.Module):
    """z -> W_2 tanh(W_1 z + b_1) + b_2: (k,) -> (n, d).  Its own z, which is what trains, if none is given."""

    def __init__(self, size: int, hidden: int, length: int, width: int):
        super().__init__()
        self.first, self.last, self.length = nn.Linear(size, hidden), nn.Linear(hidden, length * width), length
        self.z = nn.Parameter(0.02 * torch.randn(size))

    def forward(self, z: Tensor | None = None) -> Tensor:
        z = self.z if z is None else z
        return rearrange(self.last(self.first(z).tanh()), "(n d) -> n d", n=self.length)

    def learn(self, space: bool) -> None:
        """Let the subspace train, or z in it."""
        self.requires_grad_(space)
        self.z.requires_grad_(not space)

    def copy(self, path: str) -> None:
        """Take the subspace of an IPT saved in the folder `path`.  Raises ValueError for none of these sizes."""
        try:
            state = safetensors.torch.load_file(Path(path) / "delta.safetensors")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} holds no saved IPT: {error}") from None
        for name, p in self.named_parameters():
            if name != "z":
                saved = state.get(f"trunk.prompt.{name}", torch.empty(0))
                if saved.shape != p.shape:
                    sizes = f"{name} is {tuple(saved.shape)}, not {tuple(p.shape)}"
                    raise ValueError(f"{path} holds no subspace of these sizes: {sizes}")
                p.data.copy_(saved)


class Autoencoder(nn.Module):
    """A task's prompt, after it has gone through k numbers: () -> (n, d).  `task` says which task's."""

    def __init__(self, prompts: Tensor, decoder: Decoder):
        super().__init__()
        self.register_buffer("prompts", prompts)  # (tasks, n, d), as they were tuned
        self.encoder = nn.Linear(prompts[0].numel(), len(decoder.z)).to(prompts)
        self.decoder, self.task = decoder, 0

    def forward(self) -> Tensor:
        return self.decoder(self.encoder(self.prompts[self.task].flatten()))

    def error(self) -> Tensor:
        return F.mse_loss(self(), self.prompts[self.task])

    def turns(self, data: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
        """A batch of each task in turn, for which the model then gets this task's prompt."""
        while True:
            for task, batches in enumerate(data):
                self.task = task
                yield next(batches)


@dataclass(frozen=True)
class IPT(Method):
    """Train `size` numbers, and a prompt of `length` vectors follows from them; 3 to 250 and 100 in the paper.

    `fit` takes its steps for the prompt of each source task, again so many times for the subspace, and once for z.
    Broken off before that, it leaves a first z in the subspace as it is by then, which can be saved and used again.
    """

    length: int = 20
    size: int = 10  # k
    hidden: int | None = None  # rows of W_1; None: the model's width, as in the paper (768 of BART-base)
    alpha: float = 1.0  # of the reconstruction; the paper's 200 stands beside a loss summed over tokens and batch
    sources: Collection[str] | None = None  # tasks or files by name; []: a random subspace; None: the toy world's tasks
    subspace: str | None = None  # no sources, but the folder of a saved IPT whose subspace is used again

    lr: ClassVar[float] = 3e-2
    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "its prompt stands before the text, and no weight sees it alone"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1 or self.size < 1 or (self.hidden is not None and self.hidden < 1):
            raise ValueError(f"length, size and hidden must be at least 1, not as in {self}")
        if self.sources and self.subspace:
            raise ValueError("a subspace is learnt from sources or used again: give one of the two")

    def insert(self, model: GPT, subspace: str | None = None) -> None:
        decoder = Decoder(self.size, self.hidden or model.c.width, self.length, model.c.width)
        decoder.learn(space=False)
        if subspace:
            decoder.copy(subspace)
        make_room(model, self.length)
        wrap(model, "trunk", lambda trunk: Prompted(trunk, decoder, self.length))

    def loss(self, model: GPT, x: Tensor, y: Tensor) -> Tensor:
        """Behind the autoencoder's prompt, the error of its reconstruction as well."""
        errors = [self.alpha * part.error() for part in model.modules() if isinstance(part, Autoencoder)]
        return sum(errors, super().loss(model, x, y))

    def stages(self, model: GPT, batches: Sequence[Batch]) -> Iterator[Stage]:
        tasks = self.tasks(model, batches)
        first = PromptTuning(self.length).first(model)  # of all source prompts: what differs then is what was learnt
        self.attach(model, self.subspace)
        place, decoder, prompts, data = model.trunk, model.trunk.prompt, [], []
        try:
            for name, rows in tasks:
                data.append(batches_of(rows, len(batches[0][0]), model.tokenizer.end, seed=0))
                place.prompt = Prompt(first.clone())
                yield Stage(f"prompt for {name}", data=data[-1])
                prompts.append(place.prompt.P.detach())
            if tasks:
                decoder.learn(space=True)
                place.prompt = Autoencoder(torch.stack(prompts), decoder)
                # matrices want smaller steps than vectors
                yield Stage("subspace", share=len(tasks), data=place.prompt.turns(data), lr=0.03)
        finally:  # also when the training is broken off in a stage above
            decoder.learn(space=False)
            place.prompt = decoder
        yield Stage("z")

    def tasks(self, model: GPT, batches: Sequence[Batch]) -> list[tuple[str, list]]:
        """The names and rows of the source tasks.  The one that is learnt afterwards, of these batches, is held out."""
        if self.subspace or self.sources == ():
            return []
        if self.sources is None and not isinstance(model.tokenizer, Tokenizer):
            say = "sources=[...] names tasks or files to learn from, sources=[] takes a random subspace"
            raise ValueError(f"IPT knows source tasks for the bundled models alone: {say}")
        names = NAMES if self.sources is None else self.sources
        tasks = [load(n) if n in NAMES else own.read(n, model.tokenizer, model.room - self.length) for n in names]
        rows = [(task.name, [encode(example, model.tokenizer) for example in task.train]) for task in tasks]
        mine = {text for x, y in batches for text in map(unpadded, x, y)}
        held_out = [name for name, its in rows if any(tuple(x) in mine for x, _ in its)]
        if held_out and self.sources is not None:
            raise ValueError(f"the subspace may not know the task it is tried on: leave {held_out[0]} out of sources")
        return [(name, its) for name, its in rows if name not in held_out]


def unpadded(x: Tensor, y: Tensor) -> tuple[int, ...]:
    """A row's tokens (t,), up to the last that has a label."""
    return tuple(x[: int((y != IGNORE).nonzero().max()) + 1].tolist())
