"""The drawing of a block follows the model: method, targets, layers and style; figures carry their alt text."""

import io
from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import pytest
import torch
from matplotlib import pyplot
from torch import nn

from minipeft.additive.adapters import Adapters, Bottleneck
from minipeft.additive.ia3 import IA3
from minipeft.additive.ladder_side import LadderSide
from minipeft.additive.prefix_tuning import PrefixTuning
from minipeft.additive.prompt_tuning import PromptTuning
from minipeft.course import draw
from minipeft.gpt import GPT, Config
from minipeft.hybrid.mam import MAM
from minipeft.hybrid.unipelt import UniPELT
from minipeft.reparametrization.intrinsic_said import IntrinsicSAID
from minipeft.reparametrization.krona import KronA
from minipeft.reparametrization.krona_res import KronARes
from minipeft.reparametrization.lora import LoRA
from minipeft.selective.bitfit import BitFit
from minipeft.selective.fishmask import FishMask
from minipeft.surgery import Parallel, Wrapper, freeze, reparametrize, wrap

C = Config("gpt2", vocab=11, context=8, layers=3, heads=2, width=6, hidden=10)


def gpt(style: str = "gpt2") -> GPT:
    return GPT(C if style == "gpt2" else replace(C, style="llama", heads=3, head_width=2, kv_heads=1, tied=False))


def drawn(model: GPT, number: int | None = None) -> tuple[list[str], str]:
    """All text in the picture, sorted, and its alt text."""
    figure, alt = draw.block_figure(model, number)
    return sorted(t.get_text() for t in figure.axes[0].texts if t.get_text()), alt


def test_a_drawing_shows_what_trains_and_how_much():
    texts, alt = drawn(LoRA(rank=2).attach(gpt()))
    assert texts.count("LowRank\n24") == 2 and "LowRank beside attn.q (24 numbers)" in alt
    assert "attn.k" not in alt and "in every layer" in alt
    assert any(t.startswith("trains: 144 of") for t in texts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: LoRA().attach(gpt()), lambda: BitFit().attach(gpt())),
        (lambda: LoRA().attach(gpt()), lambda: LoRA(to=["attn.k", "mlp.down"]).attach(gpt())),
        (lambda: LoRA().attach(gpt()), lambda: LoRA(layers=[1]).attach(gpt())),
        (lambda: LoRA().attach(gpt()), lambda: LoRA(rank=3).attach(gpt())),
        (lambda: LoRA().attach(gpt()), lambda: LoRA().attach(gpt("llama"))),
        (lambda: Adapters(norms=False).attach(gpt()), lambda: Adapters(norms=True).attach(gpt())),
        (lambda: Adapters(norms=False).attach(gpt()), lambda: Adapters(placement="pfeiffer").attach(gpt())),
        (gpt, lambda: LoRA().attach(gpt())),
    ],
    ids=["method", "targets", "layers", "rank", "style", "norms", "placement", "none"],
)
def test_a_drawing_changes_with_the_model(one, other):
    pictures, words = set(), set()
    for model in (one(), other()):
        figure, alt = draw.block_figure(model)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=30)
        pictures.add(png.getvalue())
        words.add(alt)
    assert len(pictures) == len(words) == 2


def test_the_first_layer_that_trains_is_drawn():
    model = LoRA(layers=[1, 2]).attach(gpt())
    assert "Block 1 of" in drawn(model)[1] and "in layers 1, 2 alone" in drawn(model)[1]
    assert "What trains in it: nothing" in drawn(model, 0)[1]
    with pytest.raises(ValueError, match="layers 0 to 2, no layer 3"):
        draw.block(model, 3)


def test_every_kind_of_addition_is_drawn():
    class Link(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.zeros(5))

    class Moved(Link):
        def forward(self, w):
            return w

    class Scaled(Wrapper):
        def __init__(self, base):
            super().__init__(base)
            self.p = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return self.base(x)

    model = gpt()
    freeze(model)
    model.trunk[0].attn.past.append(Link())
    wrap(model, "mlp", lambda part: Parallel(part, Bottleneck(6, 2)))
    wrap(model, "attn.o", Scaled)
    reparametrize(model, lambda name, w: Moved() if name.endswith("mlp.up.weight") else None)
    model.trunk = Scaled(model.trunk)
    texts, alt = drawn(model)
    for words in (
        "Link before the keys and values of attn",
        "Bottleneck beside mlp",
        "Scaled around attn.o",
        "Moved on mlp.up",
    ):
        assert words in alt
    assert {"Link\n5", "Moved 5", "Scaled\n4"} <= set(texts) and "Outside the blocks: Scaled around trunk (4" in alt


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_a_scale_stands_where_it_acts(style):
    """(IA)^3 scales what comes out of k and v, and what goes into down."""
    model = IA3().attach(gpt(style))
    figure, alt = draw.block_figure(model)
    left = {t.get_text().split("\n")[0]: t.get_position()[0] for t in figure.axes[0].texts}
    assert left["v"] < left["ScaleOut"] < left["attend"] and left["up"] < left["ScaleIn"] < left["down"]
    assert "ScaleOut around attn.k" in alt and "ScaleIn before mlp.down (10 numbers)" in alt


def test_what_is_around_the_blocks_enters_below_them():
    figure, alt = draw.block_figure(PromptTuning(length=3).attach(gpt()))
    height = {t.get_text(): t.get_position()[1] for t in figure.axes[0].texts}
    assert height["positions"] < height["Prompted 18"] < height["block 0"] and "Prompted around trunk (18" in alt


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_a_network_beside_the_blocks_has_rungs(style):
    """Beside the blocks that it reads; what it goes around is marked."""
    model = GPT(Config(style, vocab=11, context=8, layers=3, heads=2, width=8, hidden=8))
    figure, alt = draw.block_figure(LadderSide(reduction=2, layers=[0, 1]).attach(model))
    at = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
    for i in (0, 1):
        assert at[f"rung {i}"][1] == at[f"block {i}"][1] and at[f"rung {i}"][0] < 0
    assert {"block 2, unused", "norm, unused"} <= at.keys() and "rung 2" not in at
    assert "it reads the results of blocks 0, 1)" in alt


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_a_part_is_marked_only_if_something_trains_there(style):
    """A prefix moves GPT-2's positions, which train no more than LLaMA's."""
    figure, _ = draw.block_figure(PrefixTuning(length=3).attach(gpt(style)))
    marks = [p for p in figure.axes[0].patches if p.get_width() == 0.22]
    assert len(marks) == C.layers


def test_weight_and_bias_are_named_once():
    """52 tensors have a scale each, and share the other 8 numbers."""
    texts, alt = drawn(IntrinsicSAID(dims=60).attach(gpt()))
    assert texts.count("Fastfood") == 8 and alt.count("Fastfood on attn.q (10 numbers)") == 1
    assert "shared: 60 train in all" in alt and "shared" not in drawn(LoRA().attach(gpt()))[1]


def test_chosen_numbers_are_counted_where_they_are():
    """FISH Mask: how many numbers of each part train, those of its weight and its bias together."""
    where = {"mlp.up.weight": torch.arange(7), "mlp.up.bias": torch.arange(2), "attn.v.weight": torch.arange(3)}
    model = FishMask().attach(gpt(), {f"trunk.1.{name}": positions for name, positions in where.items()})
    texts, alt = drawn(model)
    assert {"Sparse 9", "Sparse 3"} <= set(texts) and sum(t.startswith("Sparse") for t in texts) == 2
    assert "Sparse on attn.v (3 numbers); Sparse on mlp.up (9 numbers)" in alt and "in layers 1 alone" in alt
    assert [draw.short(n) for n in (999, 1234, 9949, 9951, 74498)] == ["999", "1.2k", "9.9k", "10k", "74k"]


def test_names_stay_in_their_boxes():
    """Long ones are written smaller."""
    for method in (LoRA(), KronA(), KronARes(), IntrinsicSAID(dims=60), FishMask(density=0.5)):
        figure, _ = draw.block_figure(method.attach(gpt()))
        figure.canvas.draw()
        for text in (t for t in figure.axes[0].texts if t.get_color() == "white"):
            *_, box = (
                p for p in figure.axes[0].patches if p.contains_point(text.get_window_extent().get_points().mean(0))
            )
            assert text.get_window_extent().width < box.get_window_extent().width, text.get_text()


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_the_parallel_adapter_stands_beside_the_mlp(style):
    """MAM's branch leaves the stream where the MLP does; Pfeiffer's adapter comes behind the block."""
    at = {}
    for method in (MAM(length=0, size=2), Adapters(2, "pfeiffer")):
        figure, alt = draw.block_figure(method.attach(gpt(style)))
        at[type(method)] = {t.get_text().split("\n")[0]: t.get_position()[0] for t in figure.axes[0].texts}
    assert at[MAM]["norm2"] < at[MAM]["Bottleneck"] < at[MAM]["down"]
    assert at[Adapters]["down"] < at[Adapters]["Bottleneck"]
    assert "Bottleneck beside the MLP of the block (32 numbers)" in drawn(MAM(length=0, size=2).attach(gpt(style)))[1]


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_a_gated_prefix_stands_before_the_keys(style):
    model = UniPELT(length=3, rank=1, size=2, hidden=None).attach(gpt(style))
    figure, alt = draw.block_figure(model)
    at = {t.get_text().split("\n")[0]: t.get_position() for t in figure.axes[0].texts}
    assert at["GatedPrefix"][0] == at["attend"][0] and at["GatedPrefix"][1] < at["v"][1]
    assert "GatedPrefix before the keys and values of attn" in alt and "Gated beside attn.q" in alt


def test_show_gives_picture_and_words(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **more: shown.append((data, more)))
    figure, ax = pyplot.subplots()
    ax.plot([1, 2])
    draw.show(figure, "A line that <rises>.")
    (picture, more), (words, _) = shown
    assert picture["image/png"].startswith(b"\x89PNG") and picture["text/plain"] == "A line that <rises>."
    about = more["metadata"]["image/png"]
    assert about["alt"] == "A line that <rises>." and 200 < about["width"] < 800
    assert "A line that &lt;rises&gt;." in words["text/html"] and not pyplot.get_fignums()


def test_tables():
    table = draw.table([{"method": "LoRA", "trains": 12288}, {"method": "<b>", "trains": 7}])
    assert str(table).splitlines() == ["method  trains", "LoRA    12,288", "<b>          7"]
    assert "12,288</td>" in table._repr_html_() and "&lt;b&gt;" in table._repr_html_()
