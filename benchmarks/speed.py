"""A training step and a forward pass of ours against those of peft and of AdapterHub's adapters, from the same weights.

    python benchmarks/speed.py peft                     in the environment of `make test`
    oracle/bin/python benchmarks/speed.py adapters      in the one that tests/oracles/record_adapters.py describes, with
                                                        einops and `pip install --no-deps -e .`
    python benchmarks/speed.py compiled                 LoRA, plain against torch.compile (inductor)
    python benchmarks/speed.py page                     docs/speed.md, of all lines in benchmarks/speed.csv

The two take turns in one process, so a slow moment of the machine meets both; a ratio below 1 means ours is faster.
Short steps follow each other in a turn, as in a training: alone, each would find the caches full of the other library.
A step is forward, loss, backward and a fused AdamW for both.  What is there is not measured again: delete its lines.
"""

import argparse
import gc
import platform
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minipeft import IA3, MAM, Adapters, Compacter, KronA, LoRA, PrefixTuning, PromptTuning, UniPELT
from minipeft.gpt import GPT, Config
from minipeft.measure import kept_bytes, times, training_step
from minipeft.method import IGNORE, Method
from minipeft.report import table
from minipeft.runs import Lines, carry_on, read
from minipeft.surgery import trainable

ROOT = Path(__file__).parents[1]
FILE, PAGE = ROOT / "benchmarks" / "speed.csv", ROOT / "docs" / "speed.md"
THREADS = torch.get_num_threads()

MINI = {"vocab": 420, "context": 96, "layers": 4, "heads": 4, "width": 96}
SMALL = {"vocab": 50257, "context": 1024, "layers": 12, "heads": 12, "width": 768}
SHAPES = {
    ("mini", "gpt2"): Config(**MINI),
    ("mini", "llama"): Config(style="llama", **MINI, hidden=256),
    ("small", "gpt2"): Config(**SMALL),
    ("small", "llama"): Config(style="llama", **SMALL, hidden=2048),
}
WORK = {  # shape: (b, t), and how many of the last positions carry a label; None: a forward pass, without gradients
    "texts": ("small", (4, 128), 128),
    "answers": ("small", (4, 128), 8),
    "forward": ("small", (4, 128), None),
    "mini texts": ("mini", (16, 24), 24),
    "mini answers": ("mini", (16, 24), 2),
    "mini forward": ("mini", (16, 24), None),
    "tiny": ("mini", (2, 32), 32),
}
STEPS = {"small": 1, "mini": 10}  # in a turn
RUNS = {"peft": 5, "adapters": 3, "compiled": 1}  # of short steps, whose ratio moves more between runs than within one
# what both count alike: q and v of GPT-2 have as many numbers apart as peft's one A and threefold B
CASES: dict[tuple[str, str, str], Method] = {
    ("peft", "llama", "LoRA"): LoRA(rank=8, alpha=16),
    ("peft", "llama", "(IA)³"): IA3(),
    ("peft", "llama", "KronA"): KronA(),
    ("peft", "gpt2", "LoRA"): LoRA(rank=8, alpha=16),
    ("peft", "gpt2", "Prompt"): PromptTuning(length=20),
    ("peft", "gpt2", "Prefix"): PrefixTuning(length=20, hidden=None),
    ("peft", "gpt2", "Prefix, MLP"): PrefixTuning(length=20),  # hidden: the model's width, which is peft's default
    ("adapters", "gpt2", "Houlsby"): Adapters(size=48, norms=False),
    ("adapters", "gpt2", "Pfeiffer"): Adapters(size=48, placement="pfeiffer", activation="relu"),
    ("adapters", "gpt2", "Parallel"): MAM(length=0, size=192),
    ("adapters", "gpt2", "Compacter"): Compacter(size=24, norms=False),
    ("adapters", "gpt2", "Compacter++"): Compacter(size=24, norms=False, to=("mlp",)),
    ("adapters", "gpt2", "MAM"): MAM(length=20, size=192, hidden=512),
    ("adapters", "gpt2", "UniPELT"): UniPELT(length=10, rank=8, size=48, hidden=512),
    ("adapters", "gpt2", "(IA)³"): IA3(),
    ("peft", "llama", "Prompt"): PromptTuning(length=20),
    ("peft", "llama", "Prefix"): PrefixTuning(length=20, hidden=None),
    ("adapters", "gpt2", "Prefix"): PrefixTuning(length=20, hidden=None),
    ("adapters", "gpt2", "LoRA"): LoRA(rank=8, alpha=16),
    ("compiled", "gpt2", "LoRA"): LoRA(rank=8, alpha=16),
    ("compiled", "llama", "LoRA"): LoRA(rank=8, alpha=16),
}

JOB = ("library", "style", "method", "work", "run")
FIELDS = (*JOB, "trainable", "ratio", "low", "high", "ours_ms", "theirs_ms", "ours_kept", "theirs_kept", "machine")


def by_peft(model: nn.Module, name: str, ours: Method, c: Config) -> nn.Module:
    import peft

    q, v = ("c_attn", "c_attn") if c.style == "gpt2" else ("q_proj", "v_proj")
    task = {"task_type": "CAUSAL_LM"}
    if name == "KronA":
        near = peft.LoKrConfig(r=10**4, alpha=10**4, decompose_both=True, target_modules=[q, v])
        return peft.get_peft_model(model, near)
    config = {
        "LoRA": lambda: peft.LoraConfig(r=8, lora_alpha=16, target_modules=list({q, v}), fan_in_fan_out=q == v),
        "(IA)³": lambda: peft.IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
        ),
        "Prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=20, **task),
        "Prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=20, **task),
        "Prefix, MLP": lambda: peft.PrefixTuningConfig(
            num_virtual_tokens=20, prefix_projection=True, encoder_hidden_size=ours.hidden, **task
        ),
    }
    return peft.get_peft_model(model, config[name]())


def by_adapters(model: nn.Module, name: str, ours: Method, c: Config) -> nn.Module:
    import adapters
    from adapters import LoRAConfig, ParBnConfig, PrefixTuningConfig, SeqBnConfig

    def times_smaller(size: int) -> dict[str, float]:
        return {"reduction_factor": c.width / size}

    config = {
        "Houlsby": lambda: adapters.DoubleSeqBnConfig(**times_smaller(48), non_linearity="gelu"),
        "Pfeiffer": lambda: SeqBnConfig(**times_smaller(48)),
        "Parallel": lambda: ParBnConfig(**times_smaller(192)),
        "Compacter": lambda: adapters.CompacterConfig(**times_smaller(24)),
        "Compacter++": lambda: adapters.CompacterPlusPlusConfig(**times_smaller(24)),
        "Prefix": lambda: PrefixTuningConfig(prefix_length=20, flat=True),
        "MAM": lambda: adapters.MAMConfig(PrefixTuningConfig(prefix_length=20), ParBnConfig(**times_smaller(192))),
        "UniPELT": lambda: adapters.UniPELTConfig(
            PrefixTuningConfig(prefix_length=10, use_gating=True),
            SeqBnConfig(**times_smaller(48), use_gating=True),
            LoRAConfig(r=8, use_gating=True),
        ),
        "LoRA": lambda: LoRAConfig(r=8, alpha=16),
        "(IA)³": lambda: adapters.IA3Config(),
    }
    if name in ("Prefix", "MAM", "UniPELT"):
        model.set_attn_implementation("eager")  # with the default, sdpa, their prefix does nothing on GPT-2
    adapters.init(model)
    model.add_adapter(name, config=config[name]())
    model.train_adapter(name)
    return model


def case(library: str, style: str, name: str, shape: str) -> Method:
    method = CASES[library, style, name]
    return replace(method, hidden=SHAPES[shape, style].width) if name == "Prefix, MLP" else method


@lru_cache(1)
def pair(library: str, style: str, name: str, shape: str, run: int) -> tuple[GPT, nn.Module]:
    """The same base with the same method, in ours and in theirs, and as many numbers that train; new ones a run."""
    import transformers

    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    c, method = SHAPES[shape, style], case(library, style, name, shape)
    ours, idx = GPT(c), torch.randint(c.vocab, (2, 8))
    if library == "compiled":
        theirs = method.attach(GPT(c))
        method.attach(ours)
        ours.forward, ours.features = (torch.compile(f) for f in (ours.forward, ours.features))
        return ours, theirs
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert (ours(idx) - theirs(idx).logits).abs().max() < 1e-3
    theirs = (by_peft if library == "peft" else by_adapters)(theirs, name, method, c)
    method.attach(ours)
    mine, other = (sum(p.numel() for p in trainable(model).values()) for model in (ours, theirs))
    assert mine == other, f"{library} {name}: ours trains {mine:,} numbers, theirs {other:,}"
    return ours, theirs


def measure(job: tuple, rounds: int) -> dict:
    """A line of the file."""
    library, style, name, work, run = job
    torch.set_num_threads(THREADS)
    gc.collect()
    shape, size, labelled = WORK[work]
    method, (ours, theirs) = case(library, style, name, shape), pair(library, style, name, shape, run)
    x, y = (torch.randint(SHAPES[shape, style].vocab, size) for _ in range(2))
    y[:, : size[1] - (labelled or 0)] = IGNORE

    def logits(model: nn.Module) -> Tensor:
        if isinstance(model, GPT):
            return model(x)
        return model(input_ids=x, use_cache=False).logits[:, -size[1] :]  # peft's prompt has logits too

    def our_loss() -> Tensor:
        return method.loss(ours, x, y)

    def their_loss() -> Tensor:  # as their Trainers do
        if isinstance(theirs, GPT):
            return method.loss(theirs, x, y)
        return F.cross_entropy(logits(theirs).flatten(0, 1), y.flatten(), ignore_index=IGNORE)

    line = dict(zip(JOB, job, strict=True)) | {"trainable": sum(p.numel() for p in trainable(ours).values())}

    def turn(step: Callable[[], object]) -> None:
        for _ in range(STEPS[shape]):
            step()

    if labelled is None:
        ours.eval(), theirs.eval()
        steps = [torch.no_grad()(partial(logits, model)) for model in (ours, theirs)]
    else:
        ours.train(), theirs.train()
        line |= {"ours_kept": kept_bytes(our_loss, ours), "theirs_kept": kept_bytes(their_loss, theirs)}
        steps = [training_step(our_loss, ours), training_step(their_loss, theirs)]
    seconds = times(*(partial(turn, step) for step in steps), rounds=rounds, warmup=1) / STEPS[shape]
    low, middle, high = (seconds[0] / seconds[1]).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    mine, other = (1000 * seconds.median(1).values).tolist()
    machine = f"{platform.machine()}, {THREADS} threads, torch {torch.__version__.split('+')[0]}"
    return line | {
        "ratio": round(middle, 3), "low": round(low, 3), "high": round(high, 3),
        "ours_ms": round(mine, 2), "theirs_ms": round(other, 2), "machine": machine,
    }  # fmt: skip


# -- the page ----------------------------------------------------------------------------------------------------------

ABOUT = """# Steps against those of `peft` and `adapters`

Made by `python benchmarks/speed.py`, on {machine}. Ours and theirs have the same weights, the same hyper-parameters and
as many numbers that train, and take turns in one process; a step is forward, loss, backward and a fused AdamW. Each
number is ours divided by theirs: below 1, ours is faster, or keeps fewer bytes for the backward pass. At the large
shape it is the median of {rounds} turns of one step, with its quartiles. At the others a turn is ten steps, and the
number is the median of {peft} such medians ({adapters} against `adapters`), each with new models, with the lowest and
the highest: short steps differ more from run to run than within one. An MLP that writes a prefix is as wide as the
model, which is `peft`'s default. Rows with a star compare what is equal in number only: `peft`'s LoRA has one A for q,
k and v of GPT-2, ours has an A each for q and v. `adapters` runs prefixes with its slower attention (`eager`): with the
other they do nothing on GPT-2.

On LLaMA both libraries do nearly the same work in the same kernels, so there is less to gain: the logits that nobody
asks for, and all that comes after an MLP's two hidden layers, which need not be kept where they are large. On GPT-2
`transformers` keeps more than it has to. The fewer the numbers, the more of a step is the price of calls, which both
pay; so ours makes fewer: queries and keys turn as one tensor, LoRA's scale is part of the sum. The price of the former:
behind a prefix, which copies the keys, attention keeps the queries and with them the tensor they are a part of.

At the large shape, too, one run says less than its quartiles seem to: (IA)³ on LLaMA, texts, gave 0.88 and 0.99, KronA
0.85, 0.83 and 0.92, the last with the fastest of three forms.

At 2 x 32 tokens a step was to take at most 0.85 of `peft`'s. All medians are below that, those of LLaMA's LoRA, Prompt
and Prefix by little: of their five runs two each were above. Of the large shape only LLaMA's LoRA, and the texts of
LLaMA's Prefix and Prompt and of GPT-2's LoRA, were measured again after the last change of the model; so were all small
rows against `peft`, and none against `adapters` or compiled.
"""
TABLES = {
    "The shape of GPT-2 small, 4 x 128 tokens": ("texts", "answers", "forward"),
    "The shape of the bundled models, 16 x 24 tokens, and tiny: 2 x 32": (
        "mini texts", "mini answers", "mini forward", "tiny"
    ),
}  # fmt: skip


def ratio(lines: Lines, *what: str) -> str:
    """The median of its runs, with the lowest and the highest; of one run its quartiles."""
    runs = [line for job, line in lines.items() if job[:-1] == what]
    if not runs:
        return "–"
    ratios = sorted(float(line["ratio"]) for line in runs)
    low, high = (ratios[0], ratios[-1]) if len(runs) > 1 else (runs[0]["low"], runs[0]["high"])
    return f"**{median(ratios):.2f}** ({low}–{high})"


def page(rounds: int) -> None:
    lines = read(FILE, len(JOB))
    machine = next(iter(lines.values()))["machine"]
    text = [ABOUT.format(machine=machine, rounds=rounds, **RUNS)]
    for title, works in TABLES.items():
        heads = ["library", "style", "method", "trains", *works, "ms, first column: ours, theirs", "kept", "MB"]
        rows = []
        for library, style, name in CASES:
            if library == "compiled" or not (first := lines.get((library, style, name, works[0], "1"))):
                continue
            mine, other = int(first["ours_kept"]), int(first["theirs_kept"])
            star = "*" if (library, style, name) == ("peft", "gpt2", "LoRA") else ""
            rows.append([
                library, style, name + star, f"{int(first['trainable']):,}",
                *(ratio(lines, library, style, name, work) for work in works),
                f"{first['ours_ms']}, {first['theirs_ms']}", f"**{mine / other:.2f}**",
                f"{mine / 1e6:.1f}, {other / 1e6:.1f}",
            ])  # fmt: skip
        text += [f"## {title}\n", table(heads, rows)]
    rows = [[style, *(ratio(lines, "compiled", style, "LoRA", work) for work in WORK)] for style in ("gpt2", "llama")]
    text += [
        "## Compiled (`torch.compile`, inductor), divided by plain: both ours, one run\n",
        table(["LoRA", *WORK], rows),
    ]
    PAGE.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("peft", "adapters", "compiled", "page"))
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    jobs = [
        (*names, work, run)
        for run in range(1, RUNS.get(args.what, 0) + 1)
        for names in CASES
        if names[0] == args.what
        for work, (shape, _, _) in WORK.items()
        if run == 1 or shape == "mini"
    ]
    carry_on(FILE, FIELDS, jobs, partial(measure, rounds=args.rounds), args.what, workers=1)
    page(args.rounds)
    print(PAGE)
