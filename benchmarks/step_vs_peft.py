"""A training step of LoRA (forward, backward, AdamW): ours against peft's on transformers, from the same weights.

    python benchmarks/step_vs_peft.py            the shape of mini-llama, 15 rounds
    python benchmarks/step_vs_peft.py --small    the shape of a small LLaMA as well: 12 layers, 768 wide

The two take turns in one process, so a slow moment of the machine meets both; a ratio below 1 means ours is faster.
"""

import argparse
import tempfile
from collections.abc import Callable

import peft
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from minipeft.gpt import GPT, Config
from minipeft.measure import kept_bytes, times
from minipeft.method import IGNORE
from minipeft.reparametrization.lora import LoRA
from minipeft.surgery import trainable

LORA = LoRA(rank=8, alpha=16)
MINI = Config(style="llama", vocab=420, context=96, layers=4, heads=4, kv_heads=2, width=96, hidden=256)
SMALL = Config(style="llama", vocab=50257, context=1024, layers=12, heads=12, kv_heads=12, width=768, hidden=2048)
CASES = [  # name, shape, (b, t), how many of the last positions carry a label
    ("mini, 2 x 32, texts", MINI, (2, 32), 32),
    ("mini, 16 x 24, texts", MINI, (16, 24), 24),
    ("mini, 16 x 24, answers", MINI, (16, 24), 2),
    ("small, 4 x 128, texts", SMALL, (4, 128), 128),
    ("small, 4 x 128, answers", SMALL, (4, 128), 8),
]


def pair(c: Config) -> tuple[GPT, torch.nn.Module]:
    """The same weights with LoRA on q and v: in our model, and in transformers' by peft."""
    torch.manual_seed(0)
    ours = GPT(c).train()
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        theirs = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    config = peft.LoraConfig(r=LORA.rank, lora_alpha=LORA.alpha, target_modules=["q_proj", "v_proj"])
    LORA.attach(ours)
    theirs = peft.get_peft_model(theirs, config)
    assert sum(p.numel() for p in trainable(ours).values()) == sum(p.numel() for p in trainable(theirs).values())
    return ours, theirs


def step(loss: Callable[[], Tensor], model: torch.nn.Module) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(trainable(model).values(), 1e-3)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def compare(name: str, c: Config, size: tuple[int, int], labelled: int, rounds: int) -> None:
    ours, theirs = pair(c)
    x = torch.randint(c.vocab, size)
    y = torch.randint(c.vocab, size)
    y[:, : size[1] - labelled] = IGNORE

    def our_loss() -> Tensor:
        return LORA.loss(ours, x, y)

    def their_loss() -> Tensor:  # as its own Trainer does, with the labels already moved by one
        logits = theirs(input_ids=x, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=IGNORE)

    assert (our_loss() - their_loss()).abs() < 1e-4
    kept = kept_bytes(our_loss, ours), kept_bytes(their_loss, theirs)
    seconds = times(step(our_loss, ours), step(their_loss, theirs), rounds=rounds)
    low, middle, high = (seconds[0] / seconds[1]).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    mine, other = (1000 * seconds.median(1).values).tolist()
    print(
        f"{name:24} {mine:9.1f} {other:9.1f}    {middle:.2f} ({low:.2f} to {high:.2f})"
        f"    {kept[0] / 1e6:8.2f} {kept[1] / 1e6:8.2f}    {kept[0] / kept[1]:.2f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="the large shape too")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}, one thread")
    print(
        f"{'':24} {'ours ms':>9} {'peft ms':>9}    {'ratio (quartiles)':19}    {'kept MB':>8} {'peft MB':>8}    ratio"
    )
    for name, c, size, labelled in CASES:
        if c is MINI or args.small:
            compare(name, c, size, labelled, args.rounds)
