"""What a method trained, beside the base it belongs to: kilobytes.

    delta.json           the methods with their numbers, the base's fingerprint, the counts
    delta.safetensors    the tensors, under their names in the model that carries the methods

Nothing in them is trusted.  Before a model is touched, the tensors are compared with those that the methods would
attach to it, which a model without memory (on torch's "meta" device) can tell.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from . import __version__
from .catalog import CATALOG
from .gpt import GPT
from .measure import counts
from .method import FullFineTuning, Method
from .surgery import added, attached, attempt, base_state

FORMAT = 1
ABOUT, TENSORS, NEW = "delta.json", "delta.safetensors", ".new"
KNOWN = {kind.__name__: kind for kind in (FullFineTuning, *(row.method for row in CATALOG))}


def save(model: GPT, path: str | Path) -> int:
    """Write all that the model's methods have added or thawed into the folder `path`; returns its size in bytes.

    Whenever a save is interrupted, the folder holds the old delta or the new one, whole.
    Raises ValueError for a model that carries no method or one that `load` doesn't know, or whose methods have been
    merged in part.
    """
    path, methods = Path(path), attached(model)
    if not methods:
        raise ValueError("this model carries no method: there is nothing to save beside its base")
    if own := [type(m).__name__ for m in methods if KNOWN.get(type(m).__name__) is not type(m)]:
        raise ValueError(
            f"load makes minipeft's own methods again, not {', '.join(own)}: keep added(model), of minipeft.surgery, "
            "with torch.save, or merge the method and save the whole model"
        )
    tensors = {name: t.detach().cpu().contiguous() for name, t in added(model).items()}
    if wrong := _differ(tensors, _expected(model, methods, tensors)):
        raise ValueError(f"{wrong}: it isn't what its methods attach any more; save it before it is merged")
    data = safetensors.torch.save(tensors)
    about = {
        "format": FORMAT,
        "minipeft": __version__,
        "methods": [{"name": type(m).__name__, "numbers": _numbers(m)} for m in methods],
        "base": fingerprint(model),
        "counts": asdict(counts(model)),
        "tensors": sha256(data).hexdigest(),
    }
    try:
        text = (json.dumps(about, indent=2, allow_nan=False) + "\n").encode()
    except TypeError:
        raise ValueError(f"{about['methods']} holds more than numbers, words and lists of them") from None

    path.mkdir(parents=True, exist_ok=True)
    with suppress(ValueError, OSError):  # finish an earlier save that was cut short just before its last line
        os.replace(_open(path)[1], path / TENSORS)
    _write(path / (TENSORS + NEW), data)
    _write(path / (ABOUT + NEW), text)
    os.replace(path / (ABOUT + NEW), path / ABOUT)  # from here on the new delta counts: see `_open`
    os.replace(path / (TENSORS + NEW), path / TENSORS)
    return len(data) + len(text)


def load(model: GPT, path: str | Path) -> GPT:
    """Attach the methods that `save` has written into the folder `path` to their base, with what they had learnt.

    Raises ValueError (FileNotFoundError where there is no delta), with the model as it was, for another base, a model
    that carries a method already, and files that are damaged or hold anything but what their methods need.
    """
    path = Path(path)
    if attached(model):
        names = ", ".join(type(m).__name__ for m in attached(model))
        raise ValueError(f"a delta is loaded into its plain base, this model carries {names}: detach it first")
    about, file = _open(path)
    methods = _methods(about, path)
    if about.get("base") != (here := fingerprint(model)):
        raise ValueError(f"{path} was trained on another base: its fingerprint is {about.get('base')!r}, not {here!r}")
    try:
        tensors = safetensors.torch.load(file.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{file} is no safetensors file: {error}") from None
    if wrong := _differ(tensors, _expected(model, methods, tensors)):
        raise ValueError(f"{file}: {wrong}")
    _restore(model, methods, tensors)
    for name, t in added(model).items():
        t.data = tensors[name].to(t)
    return model


def fingerprint(model: GPT) -> str:
    """What tells one base from another: a hash of its parameters' names, shapes and values.

    The values are rounded to bf16, so that a base loaded in fp32 is the same base as in the bf16 of its files.
    """
    digest = sha256()
    for name, value in sorted(base_state(model).items()):
        digest.update(f"{name} {tuple(value.shape)} ".encode())
        digest.update(value.bfloat16().contiguous().cpu().view(torch.int16).numpy())
    return digest.hexdigest()


# -- what is compared --------------------------------------------------------------------------------------------------


def _restore(model: GPT, methods: Sequence[Method], tensors: Mapping[str, Tensor]) -> None:
    """Attach all the methods or none; what they draw at random is overwritten, and doesn't count as drawn."""
    with attempt(model), torch.random.fork_rng():
        for m in methods:
            m.restore(model, tensors)


def _expected(model: GPT, methods: Sequence[Method], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names, shapes and kinds of what these methods add to such a model, as tensors without memory."""
    with torch.device("meta"):
        shadow = GPT(model.c)
        shadow.tokenizer = model.tokenizer
        try:
            _restore(shadow, methods, tensors)
        except (RuntimeError, TypeError) as error:  # torch's, for sizes that no tensor can have
            reason = str(error).splitlines()[0]
            raise ValueError(f"{', '.join(map(str, methods))} cannot be attached: {reason}") from None
    return added(shadow)


def _differ(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """The first thing that is wrong with the given tensors."""
    if missing := sorted(expected.keys() - given.keys()):
        return f"{len(missing)} of {len(expected)} tensors are missing, the first is {missing[0]}"
    if extra := sorted(given.keys() - expected.keys()):
        return f"{len(extra)} tensors are too many, the first is {extra[0]}"
    for name, t in expected.items():
        if given[name].shape != t.shape:
            return f"{name} should be of shape {tuple(t.shape)}, not {tuple(given[name].shape)}"
        if given[name].is_floating_point() != t.is_floating_point():
            return f"{name} should be of type {t.dtype}, not {given[name].dtype}"
    return None


# -- the files ---------------------------------------------------------------------------------------------------------


def _open(path: Path) -> tuple[dict, Path]:
    """What delta.json says, and the file with the tensors it speaks of.

    That is delta.safetensors.  Only if a save was killed between its two renamings is it still delta.safetensors.new.
    """
    if not (path / ABOUT).is_file():
        raise FileNotFoundError(f"there is no delta in {path}: {ABOUT} is missing")
    if (size := (path / ABOUT).stat().st_size) > 1_000_000:
        raise ValueError(f"{path / ABOUT} has {size:,} bytes: that is no {ABOUT}")
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path / ABOUT} is not JSON: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        given = about.get("format") if isinstance(about, dict) else about
        raise ValueError(f"{path / ABOUT} should have format {FORMAT}, not {given!r:.40}: is it of a newer minipeft?")
    for file in (path / TENSORS, path / (TENSORS + NEW)):
        if file.is_file() and sha256(file.read_bytes()).hexdigest() == about.get("tensors"):
            return about, file
    state = "is damaged, or belongs to another delta.json" if (path / TENSORS).is_file() else "is missing"
    raise ValueError(f"{path / TENSORS} {state}")


def _write(file: Path, data: bytes) -> None:
    with file.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())  # on the disk before a rename makes it count


def _numbers(method: Method) -> dict:
    return {f.name: getattr(method, f.name) for f in fields(method)}


def _methods(about: dict, path: Path) -> list[Method]:
    """The methods that delta.json lists, each made anew, which checks its numbers."""
    listed = about.get("methods")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path / ABOUT}: methods should be a list with at least one, not {listed!r:.80}")
    methods = []
    for item in listed:
        name, numbers = (item.get("name"), item.get("numbers")) if isinstance(item, dict) else (item, None)
        if not isinstance(name, str) or name not in KNOWN:
            raise ValueError(f"{path / ABOUT}: no method is called {name!r:.80}; there are {', '.join(sorted(KNOWN))}")
        names = [f.name for f in fields(KNOWN[name])]
        if not isinstance(numbers, dict) or (unknown := sorted(numbers.keys() - set(names))):
            given = ", ".join(unknown) if isinstance(numbers, dict) else repr(numbers)
            raise ValueError(f"{path / ABOUT}: {name} has {', '.join(names) or 'no numbers'}; not {given:.80}")
        methods.append(KNOWN[name](**numbers))
    return methods
