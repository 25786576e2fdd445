"""Model surgery: find a part of the model by name, put something around it, fold it in, or take it off again.

Two wrappers cover most of the survey.  `base` is the frozen part, `branch` is what trains:

    Parallel   base(x) + s branch(x)        LoRA, KronA
    Serial     h + branch(h), h = base(x)   adapters, AdaMix, Compacter

A change that only re-expresses a weight, W -> W + something, is a `torch.nn.utils.parametrize` module instead
(`reparametrize`), and a number that simply trains where it stands is thawed (`thaw`).

Names are the names of the plain model (`trunk.3.attn.q`), whatever has been wrapped around a part since.  A part can
be called by its name inside a block (`attn.q`), which means that part of every block.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

BEFORE = "_before"  # a thawed parameter's first value is kept beside it, under its name with this ending


class Wrapper(nn.Module):
    """Something around a part of the model.  `base` is the part itself, and `detach` puts it back."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base = base

    def merged(self) -> nn.Module:
        """A plain module that does the same, or, where there is none, this wrapper."""
        return self


class Parallel(Wrapper):
    """base(x) + s branch(x)."""

    def __init__(self, base: nn.Module, branch: nn.Module, scale: float = 1.0):
        super().__init__(base)
        self.branch, self.scale = branch, scale

    def forward(self, x: Tensor, *context) -> Tensor:
        return torch.add(self.base(x, *context), self.branch(x), alpha=self.scale)  # in one go

    def merged(self) -> nn.Module:
        """The plain Linear with the branch's matrix added, if the branch is linear and can say its matrix."""
        if isinstance(self.base, nn.Linear) and hasattr(self.branch, "matrix"):
            with torch.no_grad():
                self.base.weight += self.scale * self.branch.matrix()
            return self.base
        return self


class Serial(Wrapper):
    """h + branch(h), h = base(x)."""

    def __init__(self, base: nn.Module, branch: nn.Module):
        super().__init__(base)
        self.branch = branch

    def forward(self, x: Tensor, *context) -> Tensor:
        h = self.base(x, *context)
        return h + self.branch(h)


class Later(Wrapper):
    """GPT-2's table of positions for tokens that `n` learned ones come before."""

    def __init__(self, base: nn.Module, n: int):
        super().__init__(base)
        self.n = n

    def forward(self, where: Tensor) -> Tensor:
        return self.base(where + self.n)


class Unused(Wrapper):
    """x, as if the part weren't there.  What trains inside would train in vain: `Method.attach` refuses it."""

    def forward(self, x: Tensor, *context) -> Tensor:
        return x


# -- find -------------------------------------------------------------------------------------------------------------


def walk(module: nn.Module, name: str = "", path: str = "") -> Iterator[tuple[str, str, nn.Module]]:
    """(plain name, path in this model, module) for every part of the base; never into what a method has added."""
    yield name, path, module
    while isinstance(module, Wrapper):
        module, path = module.base, f"{path}.base"
    for key, child in module.named_children():
        if key not in ("past", "parametrizations"):
            yield from walk(child, f"{name}.{key}".lstrip("."), f"{path}.{key}".lstrip("."))


def originals(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """(plain name, part, key in it, parameter) for all that the base has; for a re-expressed weight, what it was."""
    for name, _, part in walk(model):
        part = inner(part)
        for key, p in part.named_parameters(recurse=False):
            yield f"{name}.{key}", part, key, p
        if parametrize.is_parametrized(part):
            for key, chain in part.parametrizations.items():
                yield f"{name}.{key}", part, key, chain.original


def layer(name: str) -> int | None:
    """The block a plain name lies in: layer("trunk.3.attn.q") is 3."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "trunk" and len(parts) > 1 else None


def inside(name: str) -> str:
    """A plain name without its block: inside("trunk.3.attn.q") is "attn.q", and a block itself is "block"."""
    return name if layer(name) is None else ".".join(name.split(".")[2:]) or "block"


def inner(part: nn.Module) -> nn.Module:
    """The original part, inside all that has been wrapped around it."""
    while isinstance(part, Wrapper):
        part = part.base
    return part


def shape(part: nn.Module) -> tuple[int, int]:
    """(d_out, d_in) of a Linear, however wrapped.

    Raises ValueError for anything else, and for one that carries a branch without a matrix: what is put around that
    could never be folded.
    """
    linear = inner(part)
    if not isinstance(linear, nn.Linear):
        raise ValueError(f"this goes around a Linear, such as attn.q or mlp.up; {type(linear).__name__} is none")
    while isinstance(part, Wrapper):
        if isinstance(part, Parallel) and not hasattr(part.branch, "matrix"):
            kind = type(part.branch).__name__
            raise ValueError(f"this Linear carries a {kind} branch that can't be folded: attach the other method first")
        part = part.base
    return tuple(linear.weight.shape)


def find(model: nn.Module, names: Collection[str] | str, layers: Collection[int] | None = None) -> dict[str, nn.Module]:
    """{path: part} for the parts called one of `names`, of these layers only; what is wrapped comes with its wrappers.

    >>> list(find(model, ["attn.q"], layers=[0, 1]))
    ['trunk.0.attn.q', 'trunk.1.attn.q']

    Raises ValueError for a name or a layer that this model doesn't have.
    """
    names = {names} if isinstance(names, str) else set(names)
    parts = {name: (path, part) for name, path, part in walk(model) if name}
    if missing := names - {inside(name) for name in parts}:
        known = sorted({inside(name) for name in parts})
        raise ValueError(f"this model has no part called {', '.join(sorted(missing))}; it has {', '.join(known)}")
    blocks = {layer(name) for name in parts} - {None}
    if layers is not None and (outside := set(layers) - blocks):
        raise ValueError(f"this model has layers 0 to {max(blocks)}, no layer {', '.join(map(str, sorted(outside)))}")
    return {
        path: part
        for name, (path, part) in parts.items()
        if inside(name) in names and (layers is None or layer(name) in layers)
    }


# -- change -----------------------------------------------------------------------------------------------------------


def wrap(
    model: nn.Module,
    names: Collection[str] | str,
    make: Callable[[nn.Module], Wrapper],
    layers: Collection[int] | None = None,
    innermost: bool = False,
) -> None:
    """Replace each part called one of `names` by make(part), which becomes of its type, on its device, in its mode.

    innermost: the original part, inside what is wrapped around it already, for what has to know its insides.
    """
    for path, part in find(model, names, layers).items():
        while innermost and isinstance(part, Wrapper):
            path, part = f"{path}.base", part.base
        model.set_submodule(path, make(part).to(next(part.parameters())).train(part.training))


def reparametrize(model: nn.Module, make: Callable[[str, Tensor], nn.Module | None]) -> None:
    """W -> make(name, W)(W) for every parameter of the base for which make returns a module.

    One that is re-expressed already is so once more: the new module gets what the earlier ones make of it.
    Raises ValueError for one that another method trains in place.
    """
    for name, part, key, p in list(originals(model)):
        if (new := make(name, p)) is not None:
            if key in thawed(part):
                raise ValueError(f"another method trains {name} in place: it can't be re-expressed as well")
            parametrize.register_parametrization(part, key, new.to(p))


def make_room(model: nn.Module, n: int) -> None:
    """Let the text begin n positions later: something learned takes the first n.

    Rotary positions need nothing here, only their differences count.
    Raises ValueError if that leaves no room for a text.
    """
    if n >= model.room:
        raise ValueError(f"{n} learned positions leave no room for a text: this model's context is {model.room}")
    model.room -= n
    if model.positions is not None:
        wrap(model, "positions", lambda table: Later(table, n))


@contextmanager
def attempt(model: nn.Module) -> Iterator[None]:
    """Inside, an exception leaves the model as it was: its parts, all that they hold, what trains."""
    parts = [
        (m, type(m), {k: v.copy() if isinstance(v, dict | set) else v for k, v in vars(m).items()})
        for m in model.modules()
    ]
    flags = [(p, p.requires_grad) for p in model.parameters()]
    try:
        yield
    except BaseException:
        for m, kind, held in parts:
            m.__class__ = kind
            vars(m).clear()
            vars(m).update(held)
        for p, flag in flags:
            p.requires_grad_(flag)
        raise


def freeze(model: nn.Module) -> None:
    for p in model.parameters():
        p.requires_grad_(False)


def thaw(part: nn.Module, key: str, start: Tensor | None = None) -> None:
    """Let `part.key` train where it stands.  Its value is kept for `detach`.

    `start`: the first value of a parameter that isn't there yet, such as the bias of a Linear without one.
    Raises ValueError for one that another method re-expresses.
    """
    if parametrize.is_parametrized(part, key):
        kind = parametrize.type_before_parametrizations(part).__name__
        raise ValueError(f"another method re-expresses the {key} of a {kind}: it can't train in place")
    p = getattr(part, key)
    if key not in thawed(part):  # two methods may train the same number; the first has kept its value
        part.register_buffer(key + BEFORE, None if p is None else p.detach().clone(), persistent=False)
    if p is None:
        setattr(part, key, nn.Parameter(start))
    getattr(part, key).requires_grad_(True)


def thaw_norms(model: nn.Module, layers: Collection[int] | None = None) -> None:
    """Let the norms' gains and biases train: those of these layers, and of the last norm, which has no layer."""
    for norm in map(inner, (find(model, ["norm1", "norm2"], layers) | find(model, ["norm"])).values()):
        for _, part, key, _ in list(originals(norm)):
            thaw(part, key)


def thawed(part: nn.Module) -> dict[str, Tensor | None]:
    """{key: its value before it was thawed} for a part's own parameters; None: there was none."""
    return {key.removesuffix(BEFORE): value for key, value in part._buffers.items() if key.endswith(BEFORE)}


# -- look -------------------------------------------------------------------------------------------------------------


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def attached(model: nn.Module) -> tuple:
    """The methods this model carries, in the order they were attached."""
    return getattr(model, "attached", ())


def base_state(model: nn.Module) -> dict[str, Tensor]:
    """{plain name: value} of the base's parameters, as they were before anything was attached."""
    values = {name: thawed(part).get(key, p.detach()) for name, part, key, p in originals(model)}
    return {name: value for name, value in values.items() if value is not None}


def added(model: nn.Module) -> dict[str, Tensor]:
    """{name in this model: tensor} of all that methods have added or thawed: what inference needs beside the base."""
    base, state = {id(p) for _, part, key, p in originals(model) if key not in thawed(part)}, {}
    for name, t in model.state_dict(keep_vars=True).items():
        if id(t) not in base:
            base.add(id(t))  # what is shared is there once
            state[name] = t
    return state


def held(model: nn.Module, state: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """{plain name of a parameter: the tensor `key`, in a saved state, of what re-expresses it}"""
    found, names = {}, {name for name, _, _, _ in originals(model)}
    for name, t in state.items():
        part, _, rest = name.replace(".base", "").partition(".parametrizations.")  # whatever was wrapped around it
        plain = f"{part}.{rest.split('.')[0]}"
        if plain in names and name.endswith(f".{key}"):
            found[plain] = t
    return found


# -- fold and give back -----------------------------------------------------------------------------------------------


def merge(model: nn.Module, whole: bool = False) -> nn.Module:
    """Fold into plain weights, in place, all that can be folded exactly; the rest stays as it is.

    whole: refuse, with a ValueError that says why and with the model untouched, if anything would have to stay.
    """
    stay = [m for m in attached(model) if m.why_not_merge]
    if whole and stay:
        raise ValueError("; ".join(f"{type(m).__name__} cannot be merged: {m.why_not_merge}" for m in stay))
    if attached(model) and not stay and any(getattr(module, "past", None) for module in model.modules()):
        names = ", ".join(type(m).__name__ for m in attached(model))
        raise ValueError(f"{names}: what stands before the keys and values is no weight; say so in `why_not_merge`")
    for path, module in reversed(list(model.named_modules())):  # from the inside out
        if parametrize.is_parametrized(module):
            _express_no_more(module, fold=True)
        elif isinstance(module, Wrapper):
            model.set_submodule(path, module.merged())
    if stay:  # and with it what trains in place, which one can still save and detach
        model.attached = tuple(m for m in attached(model) if m in stay or m.in_place)
    else:
        _plain(model)
    return model


def detach(model: nn.Module) -> nn.Module:
    """Take off, in place, all that methods have attached: the base again, bit for bit."""
    for path, module in reversed(list(model.named_modules())):
        if parametrize.is_parametrized(module):
            _express_no_more(module, fold=False)
        if isinstance(module, Wrapper):
            model.set_submodule(path, module.base)
        for key, before in thawed(module).items():
            if before is None:
                setattr(module, key, None)
            else:
                getattr(module, key).data = before.clone()
    _plain(model)
    return model


@torch.no_grad()
def _express_no_more(part: nn.Module, fold: bool) -> None:
    """Parameters again where weights were re-expressed: as they are now, or as they were.

    Not by torch's `remove_parametrizations`: it changes the part's class, which a deep copy of the part shares.
    """
    weights = [(key, chain.original, getattr(part, key)) for key, chain in part.parametrizations.items()]
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part.parametrizations
    for key, p, now in weights:
        p.data = now if fold else p.data
        part.register_parameter(key, p)


def _plain(model: nn.Module) -> None:
    """No method any more: nothing learned in the past, no value kept from before, everything may train."""
    for module in model.modules():
        for key in thawed(module):
            delattr(module, key + BEFORE)
        if past := getattr(module, "past", None):
            del past[:]
    model.attached = ()
    model.requires_grad_(True)
    if hasattr(model, "room"):  # a GPT, not a part of one
        model.room = model.c.context
