"""Loading at full size: what it costs in memory, and whether the logits are transformers'.

    python benchmarks/load_real.py [gpt2|llama]

Writes a directory of GPT-2 small's shape (fp32, 0.5 GB) and one of LLaMA 3.2 1B's (bf16, 2.5 GB) with transformers and
random weights, loads each with `GPT.from_pretrained` in a fresh process, and deletes them.  Anonymous memory (RssAnon
in /proc/self/status, so Linux) is sampled meanwhile; its peak above what was there before must stay below 1.2 times
the weights in the wished dtype.  Logits in fp32 must agree to 1e-5 of their deviation; in bf16 ours may be 1.5 times
as far from those as transformers' are.  LLaMA in fp32 takes 6 GB of memory.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from minipeft.gpt import GPT

IDX = torch.randint(50_000, (2, 64), generator=torch.Generator().manual_seed(0))
WRITTEN = {"gpt2": "fp32", "llama": "bf16"}


def write(name: str, folder: Path) -> None:
    """A model with random weights; the last norm's gain makes the logits' deviation well above 1."""
    import transformers

    if name == "gpt2":
        config = transformers.GPT2Config(dtype=torch.float32)
    else:
        rope = dict(rope_type="llama3", rope_theta=500_000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0)
        rope["original_max_position_embeddings"] = 8192
        config = transformers.LlamaConfig(
            vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
            num_key_value_heads=8, head_dim=64, max_position_embeddings=131_072, rms_norm_eps=1e-5,
            tie_word_embeddings=True, rope_parameters=rope, dtype=torch.bfloat16,
        )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=config.dtype)
    with torch.no_grad():
        (model.transformer.ln_f if name == "gpt2" else model.model.norm).weight.fill_(3)
    model.save_pretrained(folder)


def anonymous() -> int:
    """Bytes of this process's memory that no file stands behind."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def ours(folder: Path, dtype: str, logits: Path) -> None:
    """Load, print what it cost, leave the logits in a file."""
    torch.ones(9, 9) @ torch.ones(9, 9)  # what torch itself needs once
    before, peak, loading = anonymous(), 0, True

    def watch() -> None:
        nonlocal peak
        while loading:
            peak = max(peak, anonymous())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock = time.perf_counter()
    model = GPT.from_pretrained(folder, dtype=dtype)
    seconds = time.perf_counter() - clock
    loading = False
    watcher.join()
    peak = max(peak, anonymous()) - before
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    print(json.dumps({"weights": weights, "peak": peak, "seconds": seconds}))
    with torch.no_grad():
        torch.save(model(IDX).float(), logits)


def theirs(folder: Path, dtype: str, logits: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[dtype])
    with torch.no_grad():
        torch.save(model(IDX).logits.float(), logits)


def alone(*args: object) -> str:
    """This script's function `args[0]` in a process of its own, which gives all its memory back."""
    return subprocess.run(
        [sys.executable, __file__, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def main(names: list[str]) -> int:
    passed = True
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            alone("write", name, folder)
            exact = None
            for dtype in ("fp32", "bf16"):
                cost = json.loads(alone("ours", folder, dtype, Path(scratch) / "ours"))
                alone("theirs", folder, dtype, Path(scratch) / "theirs")
                a, b = (torch.load(Path(scratch) / who) for who in ("ours", "theirs"))
                exact = b if exact is None else exact
                share = cost["peak"] / cost["weights"]
                far, allowed = (a - exact).abs().max() / exact.std(), (b - exact).abs().max() / exact.std() * 1.5
                allowed = max(allowed.item(), 1e-5)
                passed &= share <= 1.2 and far <= allowed and exact.std() > 1
                print(
                    f"{name:5} {WRITTEN[name]} -> {dtype}: {cost['weights'] / 1e6:5,.0f} MB of weights in "
                    f"{cost['seconds']:4.1f} s, peak {share:.3f} times that; "
                    f"logits (deviation {exact.std():.2f}) off by {far:.1e}, allowed {allowed:.1e}",
                    flush=True,
                )
    print("passed" if passed else "failed")
    return 0 if passed else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", name, folder]:
            write(name, Path(folder))
        case ["ours" | "theirs" as who, folder, dtype, logits]:
            {"ours": ours, "theirs": theirs}[who](Path(folder), dtype, Path(logits))
        case names:
            sys.exit(main(names or list(WRITTEN)))
