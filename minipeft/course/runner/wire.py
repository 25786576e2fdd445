"""Plain values on a socket: JSON for what they are, safetensors for the numbers.  Nothing in it can be executed.

8 bytes: length of the JSON | 8 bytes: length of the tensors | JSON | tensors
"""

import json
import socket
import struct
from typing import Any

import safetensors.torch as safetensors
import torch
from torch import Tensor

HEAD = struct.Struct("!QQ")
VALUES, HEADER = 10_000, 1 << 20  # how many, and bytes of safetensors' own header: reading it must stay cheap
SCALARS = (type(None), bool, int, float, str)


class Garbled(ValueError):
    """What came over the wire is no message."""


def pack(value: Any) -> bytes:
    """Raises TypeError or ValueError for what is not plain, or can't be written (an integer of 5,000 digits)."""
    tensors: dict[str, Tensor] = {}

    count = 0

    def tree(v: Any) -> Any:
        nonlocal count
        count += 1
        if count > VALUES:
            raise ValueError(f"it has more than {VALUES:,} values")
        kind = type(v)
        if kind in SCALARS:
            return v
        if issubclass(kind, Tensor):
            # a copy: safetensors refuses two that share memory, and views that don't fill theirs
            tensors[str(len(tensors))] = v.detach().clone(memory_format=torch.contiguous_format)
            return {"tensor": str(len(tensors) - 1)}
        if kind in (list, tuple):
            return {kind.__name__: [tree(x) for x in v]}
        if kind is dict:
            return {"dict": [[tree(k), tree(x)] for k, x in v.items()]}
        raise TypeError(f"{kind.__name__} is not plain")

    text = json.dumps(tree(value)).encode()
    try:
        numbers = safetensors.save(tensors) if tensors else b""
    except KeyError as e:  # of a type that the format doesn't know
        raise TypeError(f"a tensor of {e} can't be handed over") from None
    return HEAD.pack(len(text), len(numbers)) + text + numbers


def unpack(text: bytes, numbers: bytes) -> Any:
    """Raises Garbled, whatever the bytes are."""
    count = 0
    try:
        if int.from_bytes(numbers[:8], "little") > HEADER:
            raise Garbled
        tensors = safetensors.load(numbers) if numbers else {}

        def value(t: Any, depth: int = 16) -> Any:
            nonlocal count
            count += 1
            if count > VALUES:
                raise Garbled
            if type(t) in SCALARS:
                return t
            if type(t) is not dict or len(t) != 1 or not depth:
                raise Garbled
            ((kind, inner),) = t.items()
            if kind == "tensor":
                return tensors.pop(inner)  # each once: no two values share memory, and few bytes don't become many
            if kind in ("list", "tuple"):
                return (list if kind == "list" else tuple)(value(x, depth - 1) for x in inner)
            if kind == "dict":
                return {value(k, depth - 1): value(v, depth - 1) for k, v in inner}
            raise Garbled

        return value(json.loads(text))
    except Exception as e:
        raise Garbled(f"not a message: {type(e).__name__}") from None


def send(to: socket.socket, value: Any) -> None:
    to.sendall(pack(value))


def receive(origin: socket.socket) -> Any:
    """The next value; None at the end.  For a side that trusts the other: it waits, and takes any length."""
    head = exactly(origin, HEAD.size)
    if head is None:
        return None
    text, numbers = HEAD.unpack(head)
    return unpack(exactly(origin, text), exactly(origin, numbers))


def exactly(origin: socket.socket, n: int) -> bytes | None:
    data = bytearray()
    while len(data) < n:
        piece = origin.recv(min(n - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)
