"""What a method is: a few numbers, and one thing it does to a model."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import UnionType
from typing import ClassVar, Literal, NamedTuple, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from .cross_entropy import cross_entropy
from .surgery import Unused, attached, attempt, freeze, inner, thaw, trainable, walk

IGNORE = -100  # the label of a position that the loss does not look at


class Stage(NamedTuple):
    """One stretch of training in a method's recipe: its name, and its share of all steps."""

    name: str
    share: float = 1.0
    data: Iterator[tuple[Tensor, Tensor]] | None = None  # batches of its own, where it doesn't train on the task
    lr: float = 1.0  # its share of the learning rate


class Method:
    """Subclasses are frozen dataclasses of hyper-parameters; most override `insert` alone.

    insert   add the method's own parts to a model (hybrids call the insert of others)
    attach   freeze the model, then insert: what insert makes or thaws is what trains
    loss     what training lowers
    stages   the steps of the paper's recipe, with a `yield` wherever training happens
    """

    lr: ClassVar[float] = 1e-3  # a learning rate that suits the bundled models
    why_not_merge: ClassVar[str | None] = None  # the reason, for a method that leaves parts after `merge`
    in_place: ClassVar[bool] = False  # its numbers are the base's own, there is nothing to merge
    exact_start: ClassVar[bool] = True  # before training, the model does exactly what its base does

    def __post_init__(self) -> None:
        """Each number must be what its annotation says, wherever it comes from; a list becomes a tuple."""
        kinds = get_type_hints(type(self))
        for field in fields(self):
            value, kind = getattr(self, field.name), kinds[field.name]
            if isinstance(value, (list, set, frozenset, range)):
                value = tuple(value)
            if not fits(value, kind):
                want = kind.__name__ if isinstance(kind, type) else str(kind)
                want = want.replace("collections.abc.Collection", "a list of ").replace("typing.Literal", "one of ")
                raise ValueError(f"{type(self).__name__}: {field.name} should be {want}, not {value!r:.80}")
            object.__setattr__(self, field.name, value)
        if getattr(self, "layers", None) == ():
            raise ValueError(f"{type(self).__name__}: layers should name at least one, or be left out for all")

    def insert(self, model: nn.Module) -> None:
        raise TypeError(f"{type(self).__name__} does not say what it inserts")

    def attach(self, model: nn.Module, *decided) -> nn.Module:
        """Freeze the model and insert the method; on a model that carries other methods, join them.

        `decided` goes to `insert`: what data have decided, for methods that ask them.
        Raises ValueError, with the model as it was, if the method finds nothing to train or is there already.
        """
        already = attached(model)
        if any(type(m) is type(self) for m in already):
            raise ValueError(f"this model already carries {type(self).__name__}: merge or detach it first")
        with attempt(model):
            if not already:
                freeze(model)
            others = set(map(id, trainable(model).values()))
            self.insert(model, *decided)
            if not set(map(id, trainable(model).values())) - others:
                raise ValueError(f"{self} leaves nothing to train")
            if vain := [path for path, m in model.named_modules() if isinstance(m, Unused) and trainable(m)]:
                both = ", ".join(type(m).__name__ for m in (*already, self))
                raise ValueError(f"{both} don't stack here: one trains {', '.join(vain)}, another leaves it out")
        model.attached = (*already, self)
        return model

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Attach before `delta.load` fills in the values; `state` tells the shapes of parts that data decided."""
        self.attach(model)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy, in nats, of the labels y (b, t) after the tokens x (b, t); IGNOREd ones don't count.

        Only the labelled positions go through the head: over a large vocabulary that is the dearest part of a step.
        """
        features, y = model.features(x).flatten(0, 1), y.flatten()
        if y.min().item() == IGNORE:  # else plain texts: to choose among them would cost more than to take them all
            features, y = features[y != IGNORE], y[y != IGNORE]
        return cross_entropy(model, features, y)

    def stages(self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        """Attach to a plain model and yield wherever the caller is to train; (x, y) batches for what needs data."""
        self.attach(model)
        yield Stage("train")


def fits(value: object, kind: object) -> bool:
    """Whether a value is of an annotated kind: fits((0, 2), Collection[int] | None)."""
    if isinstance(kind, UnionType):
        return any(fits(value, k) for k in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is Collection:
        return isinstance(value, tuple) and all(fits(v, *get_args(kind)) for v in value)
    if kind is float:
        return fits(value, int) and abs(value) < 1e300 or isinstance(value, float) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


@dataclass(frozen=True)
class FullFineTuning(Method):
    """Every parameter trains: what all other methods are measured against."""

    in_place: ClassVar[bool] = True

    def insert(self, model: nn.Module) -> None:
        for _, _, part in walk(model):
            for key in dict(inner(part).named_parameters(recurse=False)):
                thaw(inner(part), key)
