"""A user's own data: a JSONL or CSV file with `prompt` and `completion`, or with `text`, becomes a Task.

    {"prompt": "where is tom?", "completion": "in the garden"}          the loss covers the completion and its end
    {"text": "tom is in the garden."}                                   the loss covers all of it

Nothing is repaired in silence: a bad row, or one too long for the model, is named by its line, with the reason.
"""

import csv
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from .task import Example, Task, Tokenizer, encode

SHAPES = ({"prompt", "completion"}, {"text"})
SHOWN = 10  # of the bad rows


def read(
    path: str | Path,
    tokenizer: Tokenizer,
    context: int,
    *,
    valid: float = 0.1,
    test: float = 0.1,
    drop_long: bool = False,
    seed: int = 0,
) -> Task:
    """The rows of a file, split at random (the seed decides) into train, `valid` and `test`, at least one row in each.

    Equal rows stay on one side: training keeps them all, validation and test hold one of each.
    `drop_long`: leave out rows that are longer than the context, with a warning that names them.
    Raises ValueError with up to ten bad rows, each with its line number and what is wrong.
    """
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise ValueError(f"valid and test are shares of the rows, above 0 and together below 1; not {valid} and {test}")
    path = Path(path).expanduser()
    rows, bad, long = [], [], []
    for line, row in records(path):
        if isinstance(row, str):
            bad.append((line, row))
            continue
        tokens = len(encode(row, tokenizer)[0]) + 1
        if tokens > context:
            long.append((line, f"{tokens} tokens, and the model's context is {context}"))
        else:
            rows.append(row)
    if long and drop_long:
        warnings.warn(f"{path.name}: left out {listing(long)}", stacklevel=2)
    else:
        bad = sorted(bad + long)
    if bad:
        raise ValueError(f"{path.name} has {listing(bad)}")
    different = list(dict.fromkeys(rows))
    n_valid, n_test = (max(1, round(share * len(different))) for share in (valid, test))
    if len(different) <= n_valid + n_test:
        raise ValueError(f"{path.name} has {len(different)} different rows: give at least {n_valid + n_test + 1}")
    Random(seed).shuffle(different)
    held = different[: n_valid + n_test]
    train = [row for row in rows if row not in set(held)]
    return Task(path.stem, f"{len(rows)} rows of {path.name}", train, held[:n_valid], held[n_valid:])


def records(path: Path) -> Iterator[tuple[int, Example | str]]:
    """(line number, example or what is wrong with it) of each row.  Raises ValueError for a file without rows."""
    readers = {".jsonl": json_lines, ".csv": csv_lines}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path.name}: the ending must be .jsonl or .csv, not {path.suffix or 'nothing'!r}")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path.name} is not UTF-8 text: see line {line}") from None
    if not text.strip():
        raise ValueError(f"{path.name} is empty")
    shape = None
    for line, row in readers[path.suffix.lower()](text):
        if isinstance(row, str):
            yield line, row
            continue
        fits = [s for s in SHAPES if s <= row.keys()]
        if len(fits) != 1 or (fits[0] == {"text"} and row.keys() & SHAPES[0]):
            yield line, f"has {' and '.join(map(repr, row)) or 'nothing'}: give 'prompt' and 'completion', or 'text'"
        elif shape not in (None, fits[0]):
            now, before = (" and ".join(map(repr, sorted(s))) for s in (fits[0], shape))
            yield line, f"has {now}, the rows before have {before}"
        elif wrong := [key for key in sorted(fits[0]) if not isinstance(row[key], str)]:
            yield line, f"{wrong[0]!r} is {json.dumps(row[wrong[0]])[:40]}, not a text"
        elif blank := [key for key in sorted(fits[0]) if not row[key].strip()]:
            yield line, f"{blank[0]!r} is empty"
        else:
            shape = fits[0]
            yield line, Example("", row["text"]) if "text" in shape else Example(row["prompt"], row["completion"])


def json_lines(text: str) -> Iterator[tuple[int, dict | str]]:
    for line, row in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold other line ends
        if row.strip():
            try:
                content = json.loads(row)
            except (json.JSONDecodeError, RecursionError) as error:
                yield line, f"is not JSON ({error})"
                continue
            yield line, content if isinstance(content, dict) else f"is {row.strip()[:40]}, not an object in braces"


def csv_lines(text: str) -> Iterator[tuple[int, dict | str]]:
    """A row may span lines, inside quotes: it is named by its first one."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, header = 1, None
    try:
        for row in rows:
            if header is None:
                header = [name.strip() for name in row]
                if not any(shape <= set(header) for shape in SHAPES) or len(set(header)) < len(header):
                    raise ValueError(f"the header is {','.join(row)}: name prompt and completion, or text, once")
            elif row:
                short = f"has {len(row)} cells, the header {len(header)}: put quotes around a text with commas"
                yield line, dict(zip(header, row, strict=True)) if len(row) == len(header) else short
            line = rows.line_num + 1
    except csv.Error as error:
        yield line, f"is not CSV ({error})"


def listing(bad: Sequence[tuple[int, str]]) -> str:
    lines = [f"  line {line}: {reason}" for line, reason in bad[:SHOWN]]
    more = [f"  and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    return "\n".join([f"{len(bad)} bad row{'s' * (len(bad) > 1)}:", *lines, *more])
