"""The command line: `minipeft finetune`, `minipeft check`, ...  `minipeft COMMAND --help` says everything.

Each command is a function of the parsed arguments that returns an exit code: 0 done, 1 the answer is no (a check that
fails), 2 a mistake in what was asked for, 130 interrupted.  A mistake is one sentence on stderr, not a traceback.
"""

import argparse
import ast
import dataclasses
import sys
import time
from pathlib import Path

EXAMPLES = """examples:
  minipeft finetune --model mini-gpt2 --task sentiment --method lora --out runs/lora-sentiment
  minipeft finetune --model mini-llama --task where --method adapters --set size=8 norms=false --out runs/where
  minipeft finetune --model mini-gpt2 --data my.jsonl --method bitfit --steps 300 --out runs/mine
  minipeft finetune --model path/to/llama --data my.csv --method lora --device cuda --dtype bf16 --out runs/llama
"""

COMPARE = """Broken off and started again, it goes on where it was.  Search first if you want learning rates
that were searched for: all later runs into the same folder use what was found.

examples:
  minipeft compare --quick                               two tasks, one model, one seed: a first look in minutes
  minipeft compare --out runs/all --search               six learning rates for each method, task and model
  minipeft compare --out runs/all                        everything, in about an hour on two cores
  minipeft compare --out runs/all --low-data             the same from 16 and from 64 examples
  minipeft compare --out runs/few --methods lora bitfit --tasks opposite kind --models mini-llama
"""


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as in `minipeft methods | head -1`
        sys.stderr.close()
        return 0
    except (ValueError, OSError, ImportError, FloatingPointError) as mistake:
        print(f"minipeft {args.command}: {mistake}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="minipeft", description="Parameter-efficient fine-tuning, built from scratch.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run, about: str, epilog: str | None = None) -> argparse.ArgumentParser:
        new = commands.add_parser(
            name, help=about, description=about[0].upper() + about[1:] + ".", epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        new.set_defaults(run=run)
        return new

    p = command("finetune", finetune, "fine-tune a model on a task or on your own data", EXAMPLES)
    _model(p)
    data = p.add_mutually_exclusive_group(required=True)
    data.add_argument("--task", help="a task of the toy world; `minipeft tasks` lists them")
    data.add_argument("--data", type=Path, metavar="FILE", help="JSONL or CSV with prompt and completion, or with text")
    p.add_argument("--method", required=True, help="`minipeft methods` lists them; `full` is full fine-tuning")
    p.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="the method's numbers, as rank=4 to=attn.q,attn.v"
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the delta goes: a folder of a few kB")
    p.add_argument("--overwrite", action="store_true", help="replace a delta that is there already")
    p.add_argument("--steps", type=int, default=200, help="optimizer steps (default: %(default)s)")
    p.add_argument("--batch", type=int, default=16, help="examples a step (default: %(default)s)")
    p.add_argument("--accumulate", type=int, default=1, metavar="N", help="compute a step in N pieces, to save memory")
    p.add_argument("--lr", type=float, help="peak learning rate (default: the method's own)")
    p.add_argument("--recompute", action="store_true", help="activation checkpointing: less memory, more time")
    p.add_argument("--examples", type=int, metavar="N", help="train on the first N examples only")
    p.add_argument("--seed", type=int, default=0, help="decides everything random (default: %(default)s)")

    p = command("compare", compare, "compare methods: accuracy, numbers, bytes, seconds; tables and plots", COMPARE)
    p.add_argument(
        "--out", type=Path, default=Path("runs/compare"), metavar="DIR",
        help="where the results are and go (default: %(default)s)",
    )  # fmt: skip
    p.add_argument("--models", nargs="+", metavar="NAME", help="bundled models (default: both)")
    p.add_argument(
        "--methods", nargs="+", metavar="NAME",
        help="`minipeft methods` lists them (default: all); the frozen base and full fine-tuning always take part",
    )  # fmt: skip
    p.add_argument("--tasks", nargs="+", metavar="NAME", help="`minipeft tasks` lists them (default: five)")
    p.add_argument("--seeds", nargs="+", type=int, metavar="N", help="a run for each (default: 0 1 2)")
    p.add_argument("--steps", type=int, help="optimizer steps over all stages of a recipe (default: 200)")
    p.add_argument("--batch", type=int, help="examples a step (default: 16)")
    p.add_argument(
        "--quick", action="store_true",
        help="a first look, in under five minutes: one model, two tasks, one seed, 50 steps, unless you say others",
    )  # fmt: skip
    stage = p.add_mutually_exclusive_group()
    stage.add_argument("--search", action="store_true", help="only search for learning rates, on validation loss")
    stage.add_argument("--low-data", action="store_true", help="only run from 16 and from 64 training examples")
    stage.add_argument("--page", action="store_true", help="run nothing, write tables and plots of what is there")
    p.add_argument(
        "--workers", type=int, default=2, metavar="N", help="processes, of one thread each (default: %(default)s)"
    )

    p = command("generate", generate, "continue a text, with the plain model or with a delta on it")
    _model(p)
    p.add_argument("--delta", type=Path, metavar="DIR", help="what `minipeft finetune` wrote")
    p.add_argument("--prompt", help="the text to continue (default: standard input)")
    p.add_argument("--max", type=int, default=40, metavar="N", help="at most so many new tokens (default: %(default)s)")
    p.add_argument(
        "--temperature", type=float, default=0.0, help="0 always takes the likeliest token (default: %(default)s)"
    )
    p.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    p.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that make up P together")
    p.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")

    p = command("model", model, "describe a model: its style, sizes and what it weighs")
    _model(p)

    command("methods", methods, "list the methods, with the numbers that can be set")
    command("tasks", tasks, "list the tasks of the toy world, with an example of each")

    p = command("tokens", tokens, "show how a text falls into tokens, and what share of its words was spelt out")
    p.add_argument("file", type=Path, nargs="?", help="a text file (default: standard input)")
    p.add_argument("--model", default="mini-gpt2", help="whose tokenizer (default: %(default)s)")

    p = command("pretrain", pretrain, "train the bundled models again, from nothing, on the toy world")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the models' folders go")

    from .course import commands as course
    from .grading import commands as grading

    course.add(command)
    grading.add(command)
    return top


def _model(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--model",
        default="mini-gpt2",
        help="mini-gpt2, mini-llama, a Hugging Face folder or a hub id (default: %(default)s)",
    )
    p.add_argument(
        "--device", default="cpu", help="cpu, cuda, mps, or auto for the best there is (default: %(default)s)"
    )
    p.add_argument(
        "--dtype", choices=["fp32", "fp16", "bf16"], help="of the weights (default: the file's); steps are in fp32"
    )


def _load(args: argparse.Namespace):
    from .gpt import GPT

    return GPT.from_pretrained(args.model, dtype=args.dtype, device=args.device)


# -- commands ---------------------------------------------------------------------------------------------------------


def finetune(args: argparse.Namespace) -> int:
    from . import delta, tasks
    from .measure import counts
    from .train import evaluate, fit

    method = make(args.method, args.set)
    if args.out.exists() and not (args.out.is_dir() and not any(args.out.iterdir())) and not args.overwrite:
        raise ValueError(f"{args.out} is there already: choose another --out, or say --overwrite")
    plain = _load(args)
    if args.data:
        task = tasks.own.read(args.data, plain.tokenizer, plain.c.context)
    else:
        task = tasks.load(args.task)
    if args.examples:
        task = task.low_data(args.examples)
    before = evaluate(plain, task)
    began = time.monotonic()
    history = fit(
        plain, method, task, steps=args.steps, batch=args.batch, accumulate=args.accumulate, lr=args.lr,
        recompute=args.recompute, seed=args.seed,
    )  # fmt: skip
    seconds = time.monotonic() - began
    after = evaluate(plain, task)
    size = delta.save(plain, args.out)
    print(
        f"{args.method} on {args.model}, {task.name}: {after.n} test examples"
        + (" (interrupted)" if history.interrupted else "")
    )
    print(f"{'':10}{'before':>10}{'after':>10}")
    print(f"{'loss':10}{before.loss:10.3f}{after.loss:10.3f}")
    if after.accuracy is not None:
        print(f"{'accuracy':10}{before.accuracy:10.1%}{after.accuracy:10.1%}")
    print(f"{counts(plain)}")
    print(f"{size / 1000:.1f} kB saved in {args.out} · {len(history.losses)} steps in {seconds:.1f} s")
    return 130 if history.interrupted else 0


def compare(args: argparse.Namespace) -> int:
    from .compare import QUICK, Plan, compare
    from .report import write

    asked = {f.name: getattr(args, f.name) for f in dataclasses.fields(Plan) if getattr(args, f.name) is not None}
    plan = Plan(**(QUICK if args.quick else {}) | asked)
    if args.workers < 1:
        raise ValueError(f"--workers is at least 1, not {args.workers}")
    if not args.page:
        compare(plan, search=args.search, few=args.low_data, workers=args.workers)
    print(f"tables and plots: {write(plan)}")
    return 0


def generate(args: argparse.Namespace) -> int:
    import torch

    from . import delta
    from .generate import generate

    model = _load(args)
    if args.delta:
        delta.load(model, args.delta)
    prompt = sys.stdin.read().rstrip("\n") if args.prompt is None else args.prompt
    ids = model.tokenizer.start + (model.tokenizer.encode(prompt) if prompt else [])
    draws = torch.Generator(next(model.parameters()).device).manual_seed(args.seed)
    new = generate(
        model, [ids], args.max, temperature=args.temperature, top_k=args.top_k, top_p=args.top_p,
        stop=model.tokenizer.end, generator=draws,
    )[0]  # fmt: skip
    print(model.tokenizer.decode(model.tokenizer.encode(prompt) + new) if prompt else model.tokenizer.decode(new))
    return 0


def model(args: argparse.Namespace) -> int:
    plain = _load(args)
    n, weight = sum(p.numel() for p in plain.parameters()), plain.tokens.weight
    print(f"{args.model}: {plain.c.style} style")
    print(f"{n:,} parameters, {n * weight.element_size() / 1e6:,.1f} MB as {weight.dtype}")
    for field in dataclasses.fields(plain.c):
        if (value := getattr(plain.c, field.name)) is not None:
            print(f"  {field.name:13} {value}")
    return 0


def methods(args: argparse.Namespace) -> int:
    from .catalog import CATALOG

    for row in CATALOG:
        numbers = ", ".join(f"{f.name}={f.default!r}" for f in dataclasses.fields(row.method))
        print(f"{row.name:12} {row.family:18} survey {row.section:5} lesson {row.lesson:02}  {row.about}")
        print(f"{'':12} {numbers}")
    print(f"{'full':12} {'all of it':18} full fine-tuning, what the others are measured against")
    return 0


def tasks(args: argparse.Namespace) -> int:
    from . import tasks

    for name in tasks.NAMES:
        task = tasks.load(name)
        prompt, completion = task.test[0]
        print(f"{name:14} {task.about} (chance {task.chance:.0%})\n{'':14} {prompt} → {completion}")
    return 0


def tokens(args: argparse.Namespace) -> int:
    from .gpt import GPT

    tokenizer = GPT.from_pretrained(args.model).tokenizer
    text = args.file.read_text(encoding="utf-8") if args.file else sys.stdin.read()
    ids = tokenizer.encode(text)
    print(" ".join(tokenizer.decode([i]).strip() or "▁" for i in ids[:200]) + (" ..." if len(ids) > 200 else ""))
    spelt = f" · {tokenizer.spelt(text):.1%} of the words spelt out" if hasattr(tokenizer, "spelt") else ""
    print(f"{len(ids):,} tokens · {len(text.split()):,} words{spelt}")
    return 0


def pretrain(args: argparse.Namespace) -> int:
    from .pretrain import pretrain

    return pretrain(args.out)


def make(name: str, settings: list[str]):
    """The method of that name, with NAME=VALUE settings: make("lora", ["rank=4", "to=attn.q,attn.v"])."""
    from .catalog import entry
    from .method import FullFineTuning

    kind = FullFineTuning if name == "full" else entry(name).method
    known = {f.name: f for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    chosen = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in known:
            raise ValueError(f"--set {setting}: {name} can be told {', '.join(f'{k}=...' for k in known) or 'nothing'}")
        chosen[key] = value(text, known[key].default)
    return kind(**chosen)


def value(text: str, like: object) -> object:
    """A setting's text as the kind of value its default is: a number, a word, or a list of them after commas."""
    words = {"true": True, "false": False, "none": None}
    if isinstance(like, tuple) or "," in text:
        return tuple(value(part, None) for part in text.split(",") if part)
    try:
        return words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    sys.exit(main())
