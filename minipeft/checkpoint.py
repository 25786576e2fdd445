"""A directory in Hugging Face format <-> a GPT: config.json, weights in safetensors, the tokenizer beside them.

What they call things is in `families`; here is what it takes to read them safely and to write them whole.

Loading checks every name and shape before it makes room, and copies tensor by tensor from the mapped file straight to
its place: besides the weights themselves it needs next to no memory.
"""

import difflib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import families
from .families import COMPUTED, HEAD, PREFIX, STYLES, layout, transposed
from .gpt import GPT, Config
from .surgery import attached

BUNDLED = Path(__file__).parent / "models"

DTYPES = {
    name: dtype
    for dtype, names in {
        torch.float32: ("fp32", "float32", "F32"),
        torch.float16: ("fp16", "float16", "F16"),
        torch.bfloat16: ("bf16", "bfloat16", "BF16"),
    }.items()
    for name in names
}

VOCABULARY = ("tokenizer.json", "vocab.json", "tokenizer.model")  # a tokenizer has at least one of these
TEXT = (
    *VOCABULARY,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
)
SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


# -- load -------------------------------------------------------------------------------------------------------------


def load(source: str | Path, dtype: torch.dtype | str | None = None, device: str | torch.device = "cpu") -> GPT:
    """The GPT in `source`: a bundled name ("mini-gpt2"), a directory, or a hub id ("openai-community/gpt2").

    dtype: "fp32", "fp16", "bf16" or torch's; None or "auto" is what config.json names, or else what the file holds.
    device: torch's, or "auto" for CUDA or MPS where there is one.

    Dropout in config.json is passed over: it says how the model was trained, and changes nothing that it computes.
    Raises FileNotFoundError for what isn't there and ValueError for what isn't as it should be; both name it.
    """
    folder, device = locate(source), _device(device)
    raw = _json(folder / "config.json")
    try:
        model = skeleton(families.read(raw))
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None
    found = _tensors(folder, model.c)
    _check(folder, model, found)
    dtype = _dtype(dtype, raw, found)
    for part in model.modules():
        for key, p in part.named_parameters(recurse=False):
            setattr(part, key, nn.Parameter(torch.empty(p.shape, dtype=dtype, device=device)))
    ours = dict(model.named_parameters())
    with torch.no_grad():
        for theirs, names in layout(model).items():
            file, name = found[theirs]
            whole = file.get_tensor(name)  # mapped, not read: its pages are the file's
            whole = whole.T if transposed(theirs) else whole
            for n, part in zip(names, whole.split([len(ours[n]) for n in names]), strict=True):
                ours[n].copy_(part)
    model.tokenizer = tokenizer(folder, raw)
    return model.eval()


def skeleton(c: Config) -> GPT:
    """A model without memory: names and shapes only."""
    with torch.device("meta"), _Undrawn():
        return GPT(c)


class _Undrawn(TorchFunctionMode):
    """Inside, no normal numbers are drawn: nobody needs them, and without memory torch takes 70 MB of code to do it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function.__name__ != "normal_":
            return function(*args, **(kwargs or {}))


def locate(source: str | Path) -> Path:
    """The directory of a bundled name, of a path, or of a hub id (from the hub's local cache, else downloaded)."""
    bundled = sorted(p.parent.name for p in BUNDLED.glob("*/config.json"))
    if source in bundled:
        return BUNDLED / source
    if (path := Path(source).expanduser()).is_dir():
        return path
    if path.exists():
        raise ValueError(f"{path} is a file: give the directory that holds it and its config.json")
    close = difflib.get_close_matches(str(source).lower(), bundled, 1, 0.8)
    if close and "/" not in str(source):
        raise FileNotFoundError(f"no model is called {str(source)!r}: did you mean {close[0]!r}?")
    missing = f"no model {str(source)!r}: not bundled ({', '.join(bundled)}), not a directory"
    if not (isinstance(source, str) and re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source)):
        raise FileNotFoundError(f"{missing}, and it cannot be a hub id")
    try:
        from huggingface_hub import snapshot_download

        # what the local cache holds already isn't fetched again, and without a network it is all there is
        return Path(
            snapshot_download(source, allow_patterns=["config.json", WEIGHTS, INDEX, "model-*.safetensors", *TEXT])
        )
    except Exception as error:  # whatever the network, the hub or its library has to say, if it is there
        why = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(". ")
        raise FileNotFoundError(
            f"{missing}, and the hub does not give it ({why}). "
            f"Without the hub, put its config.json, {WEIGHTS} and tokenizer.json in a directory and give that"
        ) from error


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.parent} holds no {path.name}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, not {type(content).__name__}")
    return content


def _tensors(folder: Path, c: Config) -> dict[str, tuple[safe_open, str]]:
    """{name without prefix: (the open file, the name in it)}, from one file or from shards."""
    if (folder / WEIGHTS).exists():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).exists():
        names = _json(folder / INDEX).get("weight_map")
        if not isinstance(names, dict):
            raise ValueError(f"{folder / INDEX} has no weight_map")
        files = [folder / name for name in sorted(set(names.values()))]
    elif pickled := sorted(folder.glob("*.bin")):
        raise ValueError(
            f"{folder} holds its weights only as {pickled[0].name}, a pickle, which may run any code when opened. "
            "If you trust it, transformers converts it: AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)"
        )
    else:
        raise FileNotFoundError(f"{folder} holds no {WEIGHTS} and no {INDEX}")
    found, prefix = {}, PREFIX[STYLES.index(c.style)]
    for path in files:
        try:
            file = safe_open(path, "pt")
        except FileNotFoundError:
            raise FileNotFoundError(f"{folder} holds no {path.name}, which {INDEX} names") from None
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error}): fetch it again") from None
        for name in file.keys():
            plain = name.removeprefix(prefix)
            if plain in found:
                raise ValueError(f"{path}: {name} is there twice, as {found[plain][1]} too")
            if not COMPUTED.fullmatch(plain):
                found[plain] = file, name
    return found


def _check(folder: Path, model: GPT, found: dict[str, tuple[safe_open, str]]) -> None:
    """ValueError unless the files hold just the model's tensors, in its shapes, in dtypes we know."""
    ours, wanted = dict(model.named_parameters()), layout(model)
    twin = found.pop(HEAD, None) if model.c.tied else None  # a tied head may be written out, if it is the same
    if missing := wanted.keys() - found.keys():
        raise ValueError(f"{folder}: the files have no {_some(missing)}, which config.json asks for")
    if extra := found.keys() - wanted.keys():
        raise ValueError(f"{folder}: the files have {_some(extra)}, which the model of config.json has no place for")
    for theirs, names in wanted.items():
        file, name = found[theirs]
        there = file.get_slice(name)
        shape = [sum(len(ours[n]) for n in names), *ours[names[0]].shape[1:]]
        shape = shape[::-1] if transposed(theirs) else shape
        if there.get_shape() != shape:
            raise ValueError(f"{folder}: {name} has the shape {there.get_shape()}, and config.json asks for {shape}")
        if there.get_dtype() not in DTYPES:
            raise ValueError(f"{folder}: {name} is stored as {there.get_dtype()}, not as F32, F16 or BF16")
    if twin:
        file, name = found[next(iter(wanted))]  # the token embedding
        if not torch.equal(twin[0].get_tensor(twin[1]), file.get_tensor(name)):
            raise ValueError(f"{folder}: {twin[1]} differs from {name}, but tie_word_embeddings says they are one")


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _dtype(given: torch.dtype | str | None, raw: Mapping, found: dict[str, tuple[safe_open, str]]) -> torch.dtype:
    if given in (None, "auto"):
        file, name = next(iter(found.values()))
        given = raw.get("dtype") or raw.get("torch_dtype") or file.get_slice(name).get_dtype()
    try:
        return DTYPES[str(given).removeprefix("torch.")]
    except KeyError:
        raise ValueError(f"dtype is fp32, fp16, bf16 or auto, not {given!r}") from None


def _device(given: str | torch.device) -> torch.device:
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if given == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(given)
    except RuntimeError:
        raise ValueError(f"{given!r} is no device: cpu, cuda, mps, or auto for the best there is") from None
    if (device.type == "cuda" and not cuda) or (device.type == "mps" and not mps):
        raise ValueError(f"torch finds no {device.type} device here: 'auto' takes what there is")
    return device


# -- tokenizer --------------------------------------------------------------------------------------------------------


class RealTokenizer:
    """A real model's tokenizer, through transformers, read when it is first used: weights alone load without it.

    `start` is what the tokenizer itself puts before a text: LLaMA's <s> or <|begin_of_text|>; nothing for GPT-2.
    FileNotFoundError, ImportError or ValueError, at the first use, say which file or library is missing.
    """

    def __init__(self, folder: Path, special: dict):
        self.folder, self.special = folder.resolve(), special
        self.files = [name for name in TEXT if (folder / name).exists()]

    @cached_property
    def theirs(self):
        if not set(VOCABULARY) & set(self.files):
            raise FileNotFoundError(f"{self.folder} holds no {VOCABULARY[0]} (nor {' nor '.join(VOCABULARY[1:])})")
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise ImportError("a real model's tokenizer needs transformers: pip install transformers") from None
        try:
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except Exception as error:
            raise ValueError(f"transformers cannot read the tokenizer in {self.folder}: {error}") from error

    @cached_property
    def start(self) -> list[int]:
        ids, plain = self.theirs.encode("a"), self.encode("a")
        return ids[: ids.index(plain[0])]

    @cached_property
    def end(self) -> int:
        if self.theirs.eos_token_id is None:
            raise ValueError(f"the tokenizer in {self.folder} names no eos_token, the end of a text")
        return self.theirs.eos_token_id

    def encode(self, text: str) -> list[int]:
        return self.theirs.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        return self.theirs.decode(ids, clean_up_tokenization_spaces=False)


def tokenizer(folder: Path, raw: Mapping):
    """Ours, if tokenizer.json is of its making, in a bundled model or a copy of one; else transformers'."""
    from .tokenizer import Tokenizer

    path = folder / "tokenizer.json"
    if path.exists() and path.stat().st_size < 200_000:  # a real one is megabytes: don't read it in vain
        try:
            return Tokenizer.from_file(path)
        except ValueError:
            pass
    return RealTokenizer(folder, {key: raw[key] for key in SPECIAL if key in raw})


# -- save -------------------------------------------------------------------------------------------------------------


def save(model: GPT, path: str | Path) -> None:
    """Write config.json, model.safetensors and the tokenizer's files, so that transformers and `load` read them.

    What is written appears when it is whole.  In a model's directory these files are replaced and others stay.
    Raises ValueError, with nothing written, for a model that still carries a method, for one that transformers has no
    words for, and for a directory with a config.json that isn't a model's.
    """
    if methods := attached(model):
        names = ", ".join(type(m).__name__ for m in methods)
        raise ValueError(
            f"this model carries {names}: merge or detach it first, or save what it learned with delta.save"
        )
    path = Path(path).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file: give a directory")
    if (path / "config.json").exists() and "model_type" not in _json(path / "config.json"):
        raise ValueError(f"{path} holds a config.json that isn't a model's: give another directory")
    c, state = _state(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        new = Path(scratch) / path.name  # made by mkdir: with the rights the user's files get
        new.mkdir()
        save_file(state, new / WEIGHTS, metadata={"format": "pt"})
        content = families.write(c, next(iter(state.values())).dtype) | _save_text(model.tokenizer, new, c.context)
        (new / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        if path.exists():
            for file in new.iterdir():
                os.replace(file, path / file.name)
        else:
            os.replace(new, path)


def _state(model: GPT) -> tuple[Config, dict[str, Tensor]]:
    """The model's config and its tensors, as transformers' files have them."""
    c, ours = model.c, {name: p.detach() for name, p in model.named_parameters()}
    gpt2 = c.style == "gpt2"
    if c.width % c.heads or (gpt2 and (c.kv_heads != c.heads or c.heads * c.head_width != c.width)):
        raise ValueError(f"transformers' {c.style} has no place for such heads: {c}")
    # its GPT-2 has biases, its LLaMA in all Linears of a sub-layer or in none: a missing one is zero
    biased = {part: gpt2 or any(f".{part}." in n and n.endswith(".bias") for n in ours) for part in ("attn", "mlp")}
    c = replace(c, attn_bias=biased["attn"], mlp_bias=biased["mlp"])
    whole, like, state = skeleton(c), ours["tokens.weight"], {}
    for theirs, names in layout(whole).items():
        parts = [ours.pop(n) if n in ours else like.new_zeros(whole.get_parameter(n).shape) for n in names]
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        name = theirs if theirs == HEAD else PREFIX[STYLES.index(c.style)] + theirs
        state[name] = (tensor.T if transposed(theirs) else tensor).contiguous().cpu()
    if ours:
        raise ValueError(f"transformers' {c.style} has no place for {_some(ours)}")
    return c, state


def _save_text(tokens, folder: Path, context: int) -> dict:
    """Write the tokenizer's files; return what config.json says of it."""
    from .tokenizer import Tokenizer, write

    if isinstance(tokens, RealTokenizer):
        for name in tokens.files:
            shutil.copyfile(tokens.folder / name, folder / name)
        return tokens.special
    if isinstance(tokens, Tokenizer):
        write(tokens.vocabulary, folder, context)
        return {"bos_token_id": tokens.start[0], "eos_token_id": tokens.end}
    return {"bos_token_id": None, "eos_token_id": None}
