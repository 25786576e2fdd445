"""Pictures for the lessons: a block of the model with what trains in it, figures with alt text, tables.

One visual language for all lessons: pale grey is frozen, strong red trains (in a grey print: light and dark), a dark
line is the residual stream.  `block` reads everything from the model itself, so it can't disagree with it.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from .. import gpt
from ..additive.prefix_tuning import Prefix
from ..gpt import GPT, Attention
from ..surgery import Parallel, Serial, Wrapper, inner, layer, trainable, walk

TRAINS, FROZEN, INK, EDGE = "C3", "#ededed", "#333333", "#b5b5b5"
DPI = 100
SIDE = -0.75  # where a network beside the blocks stands, left of them


# -- what there is to draw --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Added:
    """What a method put at a part: a branch beside or after it, a link in its past, a new form of its weight."""

    kind: str  # "beside", "before", "after", "along", "around", "past", "weight"
    name: str  # the class, such as LowRank
    trains: int  # how many of its numbers
    rungs: tuple[int, ...] = ()  # the blocks whose results it reads, for a network beside them

    def words(self, name: str) -> str:
        reads = f"; it reads the results of blocks {', '.join(map(str, self.rungs))}" if self.rungs else ""
        return f"{self.name} {PLACE[self.kind]} {name} ({self.trains:,} numbers{reads})"


@dataclass(frozen=True)
class Part:
    """A part of the base: which of its own parameters train, and what was added to it."""

    trains: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    added: tuple[Added, ...] = ()

    def words(self, name: str) -> list[str]:
        own = [f"{' and '.join(self.trains)} of {name}"] if self.trains else []
        return own + [a.words(name) for a in self.added if a.trains]


PLACE = {
    "beside": "beside",
    "before": "before",
    "after": "after",
    "along": "beside the MLP of",
    "around": "around",
    "past": "before the keys and values of",
    "weight": "on",
}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def short(n: int) -> str:
    """A count in few letters: 508, 1.2k, 75k."""
    return str(n) if n < 1000 else f"{n / 1000:.1f}k" if n < 9950 else f"{n / 1000:.0f}k"


def given(wrapper: Wrapper, width: int, *inside: nn.Module) -> list[torch.Tensor]:
    """One token put through a wrapper, and then what each of these modules inside has read: seen by trying."""
    x, read = torch.zeros(1, 1, width).to(next(wrapper.parameters())), {}
    hooks = [m.register_forward_pre_hook(lambda m, args: read.update({m: args[0]})) for m in inside]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        wrapper(x)
    for hook in hooks:
        hook.remove()
    return [x, *(read.get(m) for m in inside)]


def kind_of(wrapper: Wrapper) -> str:
    """Where a wrapper acts."""
    part, branch = inner(wrapper), getattr(wrapper, "branch", None)
    if isinstance(wrapper, Parallel | Serial):
        return "beside" if isinstance(wrapper, Parallel) else "after"
    if isinstance(part, Attention) and any(isinstance(m, Prefix) for m in wrapper.children()):
        return "past"
    if isinstance(part, nn.Linear):
        x, read = given(wrapper, part.in_features, wrapper.base)
        return "around" if read is None or read is x else "before"
    if isinstance(part, gpt.Block) and branch is not None:
        _, read, stream = given(wrapper, len(inner(part.norm2).weight), branch, part.norm2)
        return "along" if read is stream else "around"
    return "around"


def added_at(part: nn.Module) -> list[Added]:
    """What stands around a part, from the inside out, and in it."""
    found = []
    while isinstance(part, Wrapper):
        branch = getattr(part, "branch", part)
        own = count(branch) if branch is not part else count(part) - count(part.base)
        rungs = tuple(map(int, getattr(part, "rungs", ())))
        found.insert(0, Added(kind_of(part), type(branch).__name__, own, rungs))
        part = part.base
    found += [Added("past", type(link).__name__, count(link)) for link in getattr(part, "past", ())]
    if parametrize.is_parametrized(part):
        steps = [step for chain in part.parametrizations.values() for step in chain]
        for name in dict.fromkeys(type(step).__name__ for step in steps):  # once, for the weight and its bias together
            alike = nn.ModuleList(step for step in steps if type(step).__name__ == name)
            found.append(Added("weight", name, count(alike)))
    return found


def parts(model: nn.Module) -> dict[str, Part]:
    """{plain name: Part} for the model and everything in it."""
    found = {}
    for name, _, module in walk(model):
        own = dict(inner(module).named_parameters(recurse=False))
        trains = tuple(k for k, p in own.items() if p.requires_grad)
        found[name] = Part(trains, tuple(k for k in own if k not in trains), tuple(added_at(module)))
    return found


def acting(all_parts: Mapping[str, Part]) -> list[int]:
    """The layers in which something trains."""
    touched = {layer(name) for name, p in all_parts.items() if p.trains or any(a.trains for a in p.added)}
    return sorted(touched - {None})


def sharing(model: GPT, all_parts: Mapping[str, Part]) -> bool:
    """Whether parts have numbers in common: then those of the parts are more than those of the model."""
    of_parts = sum(a.trains for p in all_parts.values() for a in p.added)
    return of_parts > sum(p.numel() for p in trainable(model).values())


def describe(model: GPT, number: int) -> str:
    """The picture in words: the alt text."""
    found, layers = parts(model), acting(parts(model))
    inside = f"trunk.{number}"
    here = [
        w
        for n, p in found.items()
        if layer(n) == number
        for w in p.words(n.removeprefix(f"{inside}.").replace(inside, "the block"))
    ]
    outside = [w for n, p in found.items() if layer(n) is None for w in p.words(n or "the model")]
    which = "in every layer" if len(layers) == model.c.layers else f"in layers {', '.join(map(str, layers))} alone"
    text = f"Block {number} of a GPT in the style of {'GPT-2' if model.c.style == 'gpt2' else 'LLaMA'}. "
    text += f"What trains in it: {'; '.join(here) or 'nothing'}. "
    text += f"Outside the blocks: {'; '.join(outside)}. " if outside else ""
    if sharing(model, found):
        total = sum(p.numel() for p in trainable(model).values())
        text += f"Some of these numbers are shared: {total:,} train in all. "
    return text + (f"Something trains {which}; all else is frozen." if layers else "All blocks are frozen.")


# -- the block --------------------------------------------------------------------------------------------------------


@dataclass
class Pen:
    """A few shapes on a matplotlib axis."""

    ax: Any
    counts: bool = True  # write how many numbers train in a part that has a new form

    def box(
        self, x: float, y: float, label: str, trains: bool = False, w: float = 1.0, h: float = 0.5, **style
    ) -> None:
        from matplotlib.patches import FancyBboxPatch

        face, edge = (TRAINS, TRAINS) if trains else (FROZEN, EDGE)
        shape = FancyBboxPatch(
            (x - w / 2, y - h / 2), w, h, boxstyle="round,pad=0,rounding_size=0.08", fc=style.get("fc", face),
            ec=style.get("ec", edge), lw=0.9, zorder=3,
        )  # fmt: skip
        self.ax.add_patch(shape)
        colour = "white" if trains else INK
        self.text(x, y, label, color=colour, weight="bold" if trains else "normal", size=style.get("size", 8))

    def text(self, x: float, y: float, label: str, **style) -> None:
        self.ax.text(
            x, y, label, **{"ha": "center", "va": "center", "size": 8, "zorder": 5, "linespacing": 1.15} | style
        )

    def line(self, *points: tuple[float, float], color: str = "#777777", lw: float = 1.0, arrow: bool = True) -> None:
        """A path through points, with an arrow head at its end."""
        xs, ys = zip(*points, strict=True)
        self.ax.plot(xs, ys, color=color, lw=lw, zorder=2, solid_joinstyle="round", solid_capstyle="round")
        if arrow:
            props = dict(arrowstyle="-|>", color=color, lw=lw, shrinkA=0, shrinkB=0, mutation_scale=8)
            self.ax.annotate("", points[-1], points[-2], arrowprops=props, zorder=2)

    def plus(self, x: float, y: float, color: str = INK, r: float = 0.15) -> None:
        from matplotlib.patches import Circle

        self.ax.add_patch(Circle((x, y), r, fc="white", ec=color, lw=1.1, zorder=4))
        self.ax.plot([x - r / 2, x + r / 2], [y, y], color=color, lw=1.1, zorder=5)
        self.ax.plot([x, x], [y - r / 2, y + r / 2], color=color, lw=1.1, zorder=5)

    def part(self, x: float, y: float, label: str, part: Part) -> None:
        """A part of the base: red if all of it trains, with a red strip that says what if something of it does."""
        forms = [a for a in part.added if a.kind == "weight" and a.trains]
        strip = [*part.trains, *(f"{a.name} {short(a.trains)}" if self.counts else a.name for a in forms)]
        whole = bool(part.trains) and not part.frozen
        self.box(x, y, "" if strip and not whole else label, whole, w=0.9)
        if strip and not whole:
            self.text(x, y + 0.11, label, color=INK)
            label = ", ".join(strip)
            w = 1.1 if forms and self.counts else 0.9
            self.box(x, y - 0.15, label, True, w=w, h=0.24, size=min(6.5, 60 * w / len(label)))

    def added(self, x: float, y: float, a: Added, w: float = 1.5) -> None:
        size = min(7, 60 * w / len(a.name))  # a long name is written small, to stay in its box
        self.box(x, y, f"{a.name}\n{a.trains:,}", bool(a.trains), w=w, h=0.54, size=size)

    def detour(self, start: float, end: float, y: float, below: float, a: Added, w: float = 1.5) -> None:
        """Off the path at (start, y), through what was added, and back onto it at (end, y)."""
        middle = (start + end) / 2
        self.line((start, y), (start, below), (middle - w / 2, below), color=TRAINS)
        self.line((middle + w / 2, below), (end, below), (end, y - 0.12), color=TRAINS)
        self.plus(end, y, TRAINS, 0.12)
        self.added(middle, below, a, w)


class Block:
    """The drawing of one block: the residual stream on top, the two sub-layers below it, read from left to right."""

    STREAM, MIDDLE, ROW = 4.7, 2.2, 1.3  # heights: the stream, the axis of a sub-layer, and from q to k to v

    def __init__(self, pen: Pen, found: Mapping[str, Part], number: int, style: str):
        self.pen, self.found, self.inside, self.style = pen, found, f"trunk.{number}", style

    def part(self, name: str) -> Part:
        return self.found[f"{self.inside}.{name}".rstrip(".")]

    def draw(self, x: float) -> float:
        """From x to the right; where it ends."""
        start = x
        x = self.sublayer(x + 0.3, "norm1", "attn", self.attention)
        begin = x + 0.45
        x = self.sublayer(begin, "norm2", "mlp", self.mlp)
        for a in self.extra("", "along"):
            self.along(begin + 0.35, x - 0.45, a)
        for a in self.extra("", "after", "beside", "around"):
            self.pen.line(
                (x + 0.2, self.STREAM), (x + 0.2, self.STREAM - 0.75), (x + 0.5, self.STREAM - 0.75), color=TRAINS
            )
            self.pen.added(x + 1.25, self.STREAM - 0.75, a)
            x = self.join(x + 2.25, self.STREAM - 0.75, "")
        self.pen.line((start, self.STREAM), (x + 0.6, self.STREAM), color=INK, lw=2.2)
        return x + 0.6

    def along(self, start: float, end: float, a: Added) -> None:
        """From the stream at start, beside the MLP, and back into the stream at end."""
        y, middle = self.STREAM - 0.95, (start + end) / 2
        self.pen.line((start, self.STREAM), (start, y), (middle - 0.75, y), color=TRAINS)
        self.pen.line((middle + 0.75, y), (end - 0.35, y), color=TRAINS, arrow=False)
        self.pen.added(middle, y, a)
        self.join(end, y, "")

    def extra(self, name: str, *kinds: str) -> list[Added]:
        return [a for a in self.part(name).added if a.kind in kinds]

    def join(self, x: float, y: float, name: str) -> float:
        """Up from (x, y) into the stream."""
        self.pen.line((x - 0.35, y), (x, y), (x, self.STREAM - 0.15), color="#777777" if name else TRAINS)
        self.pen.plus(x, self.STREAM)
        return x

    def sublayer(self, x: float, norm: str, name: str, inner_part: Any) -> float:
        """norm, then attention or the MLP, then what was added to it, then back into the stream."""
        y = self.MIDDLE
        self.pen.line((x, self.STREAM), (x, y), (x + 0.3, y))
        self.pen.part(x + 0.75, y, norm, self.part(norm))
        self.pen.line((x + 1.2, y), (x + 1.4, y), arrow=False)
        begin = x + 1.4
        x = inner_part(begin)
        for a in self.extra(name, "after", "around"):
            x = self.after(x, y, a)
        for a in self.extra(name, "beside"):
            self.pen.line((x, y), (x + 0.35, y), arrow=False)
            self.pen.detour(begin + 0.12, x + 0.2, y, -0.6, a)
            x += 0.35
        return self.join(x + 0.35, y, name)

    def after(self, x: float, y: float, a: Added) -> float:
        """What reads the output of a part and adds to it; on the path itself if it is of another kind.

        What stands before a part is drawn so too, from the left.
        """
        self.pen.line((x, y), (x + 2.15, y), arrow=False)
        if a.kind == "after":
            self.pen.detour(x + 0.15, x + 1.95, y, y - 0.7, a)
        else:
            self.pen.added(x + 1.1, y, a)
        return x + 2.15

    def linear(self, x: float, y: float, name: str) -> float:
        """A Linear from x on, with what stands before, beside and after it; where its output leaves."""
        part, label = self.part(name), name.split(".")[1]
        for a in (a for a in part.added if a.kind == "before"):
            x = self.after(x, y, a)
        self.pen.part(x + 0.75, y, label, part)
        self.pen.line((x, y), (x + 0.3, y))
        beside = [a for a in part.added if a.kind == "beside"]
        self.pen.line((x + 1.2, y), (x + 1.65, y), arrow=False)
        for a in beside:
            self.pen.detour(x + 0.08, x + 1.43, y, y - 0.63, a, w=1.0)
        x += 1.65
        for a in (a for a in part.added if a.kind in ("after", "around")):
            x = self.after(x, y, a)
        return x

    def attention(self, x: float) -> float:
        y, ends = self.MIDDLE, []
        for row, name in ((1, "attn.q"), (0, "attn.k"), (-1, "attn.v")):
            if row:
                self.pen.line((x, y), (x, y + row * self.ROW), arrow=False)
            ends.append((self.linear(x, y + row * self.ROW, name), y + row * self.ROW))
        x = max(end for end, _ in ends)
        for end, height in ends:
            self.pen.line((end, height), (x + 0.25, height))
        self.pen.box(x + 0.7, y, "attend", h=2 * self.ROW + 0.6, fc="white", w=0.9)
        for a in self.extra("attn", "past"):
            self.pen.line((x + 0.7, -0.35), (x + 0.7, y - self.ROW - 0.3), color=TRAINS)
            self.pen.added(x + 0.7, -0.6, a)
        self.pen.line((x + 1.15, y), (x + 1.4, y), arrow=False)
        return self.linear(x + 1.3, y, "attn.o")

    def mlp(self, x: float) -> float:
        y = self.MIDDLE
        if self.style == "gpt2":
            x = self.linear(x, y, "mlp.up")
            self.pen.line((x, y), (x + 0.15, y))
            label, tall = "gelu", 0.5
        else:
            for row, name in ((0.5, "mlp.up"), (-0.5, "mlp.gate")):
                self.pen.line((x, y), (x, y + row * self.ROW), arrow=False)
                end = self.linear(x, y + row * self.ROW, name)
                self.pen.line((end, y + row * self.ROW), (end + 0.15, y + row * self.ROW))
            x = end
            label, tall = "silu(gate)\n× up", self.ROW + 0.5
        self.pen.box(x + 0.65, y, label, h=tall, w=1.0, fc="white", size=7)
        self.pen.line((x + 1.15, y), (x + 1.3, y), arrow=False)
        return self.linear(x + 1.3, y, "mlp.down")


def tower(pen: Pen, model: GPT, found: Mapping[str, Part], number: int, bottom: float, top: float) -> float:
    """The whole model from the tokens up to the head; the height of the block that is drawn beside."""
    layers = model.c.layers
    rows = ["tokens", *(["positions"] if model.positions is not None else [])]
    rows += [*found["trunk"].added, *range(layers), "norm"]
    rows += ["head"] if model.head is not None else []
    step = (top - bottom) / len(rows)
    pen.line((0.85, bottom + step / 2), (0.85, top + 0.1), color=EDGE)
    for i, row in enumerate(rows):
        y, h = bottom + (i + 0.5) * step, min(0.5, 0.8 * step)
        if isinstance(row, Added):  # around the blocks: it begins below the first and ends above the last
            end = bottom + (rows.index("norm") - 0.05) * step
            label = f"{row.name} {row.trains:,}"
            pen.box(0.85, y, label, bool(row.trains), w=1.5, h=h, size=min(7, 84 / len(label)))
            far = SIDE if row.rungs else 0
            pen.line((0.1, y), (far, y), (far, end), (0.85, end), color=TRAINS)
            for rung in row.rungs:
                level = bottom + (rows.index(rung) + 0.5) * step
                pen.line((0.1, level), (SIDE + 0.45, level), color=TRAINS)
                pen.box(SIDE, level, f"rung {rung}" if layers <= 24 else "", True, w=0.9, h=h, size=7)
            continue
        label = row if isinstance(row, str) else f"block {row}" if layers <= 24 else ""
        names = [row] if isinstance(row, str) else [n for n in found if layer(n) == row]
        some = any(found[n].trains or any(a.trains for a in found[n].added) for n in names)
        whole = some and not any(found[n].frozen or found[n].added for n in names)
        unused = any(a.name == "Unused" for n in names for a in found[n].added)
        style = {"fc": "white"} if unused else {}
        pen.box(0.85, y, f"{label}, unused" if unused else label, whole, w=1.5, h=h, size=7, **style)
        if some and not whole:
            pen.box(0.21, y, "", True, w=0.22, h=h)
        if row == number:
            height = y
    for i, a in enumerate(found[""].added):
        pen.added(0.85, top + 0.45 + 0.6 * i, a, 1.5)
    return height


def block(model: GPT, number: int | None = None) -> None:
    """Show one block (the first in which something trains, if not named) with all that methods have put there.

    Beside it stands the whole model, with the layers on which they act.  Raises ValueError for a layer it doesn't have.
    """
    show(*block_figure(model, number))


def block_figure(model: GPT, number: int | None = None) -> tuple[Any, str]:
    """The figure and its alt text, not yet shown."""
    from matplotlib.figure import Figure

    found = parts(model)
    number = next(iter(acting(found)), 0) if number is None else number
    if number not in range(model.c.layers):
        raise ValueError(f"this model has layers 0 to {model.c.layers - 1}, no layer {number}")
    figure = Figure()
    ax = figure.add_axes((0, 0, 1, 1))
    pen = Pen(ax, counts=not sharing(model, found))
    low = any(a.kind in ("past", "beside") for name in ("attn", "mlp") for a in found[f"trunk.{number}.{name}"].added)
    bottom, top = -1.0 if low else -0.25, 5.15
    height = tower(pen, model, found, number, bottom, top)
    left = 2.35
    right = Block(pen, found, number, model.c.style).draw(left) + 0.15
    ax.plot([1.6, left - 0.15, left - 0.15, 1.6], [height, top, bottom, height], color=EDGE, lw=0.8, ls=":", zorder=1)
    ax.plot([left - 0.15, right, right, left - 0.15], [top, top, bottom, bottom], color=EDGE, lw=0.8, ls=":", zorder=1)
    total, all_numbers = sum(p.numel() for p in trainable(model).values()), sum(p.numel() for p in model.parameters())
    style = "GPT-2" if model.c.style == "gpt2" else "LLaMA"
    pen.text(left, 4.93, f"block {number}, {style} style: the residual stream →", ha="left", size=7.5, color=INK)
    pen.box(left + 0.15, bottom - 0.35, "", True, w=0.3, h=0.26)
    pen.text(left + 0.4, bottom - 0.35, f"trains: {total:,} of {all_numbers:,} numbers in the model", ha="left")
    pen.box(left + 7.0, bottom - 0.35, "", w=0.3, h=0.26)
    pen.text(left + 7.25, bottom - 0.35, "frozen", ha="left")
    high = 5.25 + 0.75 * len(found[""].added)
    edge = SIDE - 0.5 if any(a.rungs for a in found["trunk"].added) else -0.05
    ax.set(xlim=(edge, right + 0.1), ylim=(bottom - 0.6, high), aspect="equal")
    ax.axis("off")
    width = 9.6
    figure.set_size_inches(width, width * (high - bottom + 0.6) / (right + 0.1 - edge))
    return figure, describe(model, number)


# -- figures and tables -----------------------------------------------------------------------------------------------


def show(figure: Any, alt: str) -> None:
    """Show a matplotlib figure with a text that says what is to be seen in it, for those who can't see it.

    The text is stored with the picture, and can be unfolded below it.
    """
    from IPython.display import display
    from matplotlib import pyplot

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=2 * DPI, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    pyplot.close(figure)  # or Jupyter shows it a second time
    (width,) = struct.unpack(">I", png.getvalue()[16:20])  # drawn twice as fine as it is shown: sharp on any screen
    about = {"alt": alt, "width": width // 2}
    display({"image/png": png.getvalue(), "text/plain": alt}, raw=True, metadata={"image/png": about})
    folded = f"<details><summary>the picture in words</summary>{escape(alt)}</details>"
    display({"text/html": folded, "text/plain": ""}, raw=True)


@dataclass(frozen=True)
class Table:
    """Rows of the same keys, shown as a table."""

    rows: tuple[Mapping[str, Any], ...]

    def cells(self) -> list[list[str]]:
        heads = list(self.rows[0]) if self.rows else []
        return [
            heads,
            *([f"{row[k]:,}" if isinstance(row[k], int) else str(row[k]) for k in heads] for row in self.rows),
        ]

    def __str__(self) -> str:
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join([c[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(c[1:], widths[1:], strict=True))])
            for c in cells
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads, *rows = [[escape(text) for text in row] for row in self.cells()]
        align = ["left", *["right"] * (len(heads) - 1)]
        head = "".join(f'<th scope="col" style="text-align: {a}">{h}</th>' for h, a in zip(heads, align, strict=True))
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align: {a}">{c}</td>' for c, a in zip(row, align, strict=True)) + "</tr>"
            for row in rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table of dicts with the same keys; the first column names the row."""
    return Table(tuple(rows))
