"""Record what AdapterHub's `adapters` computes for its hybrids, for the tests of ours to compare with.

In the environment of record_adapters.py, on its bases and in its format, one file for each style and method:

    oracle/bin/python tests/oracles/record_hybrids.py

writes tests/fixtures/METHOD_STYLE.safetensors.  What is theirs gets our names and our shapes: see `translate`.
"""

import adapters
import torch
import torch.nn.functional as F
from adapters import (
    CompacterConfig,
    CompacterPlusPlusConfig,
    LoRAConfig,
    MAMConfig,
    ParBnConfig,
    PrefixTuningConfig,
    SeqBnConfig,
    UniPELTConfig,
)
from einops import rearrange
from record_adapters import FIXTURES, base, draw, gpt2, llama
from safetensors.torch import save_file
from torch import Tensor

WIDTHS = {"gpt2": 20, "llama": 24}
# their Compacter++ stands where Pfeiffer's adapter does
METHODS = {
    "compacter": lambda width: {
        "compacter": CompacterConfig(reduction_factor=width / 8, phm_dim=4),
        "compacter++": CompacterPlusPlusConfig(reduction_factor=width / 8, phm_dim=2, phm_rank=2),
        "phm": CompacterConfig(
            reduction_factor=width / 8, phm_dim=2, factorized_phm_W=False, shared_phm_rule=False, phm_rank=1
        ),
    },
    "mam": lambda width: {
        "mam": MAMConfig(PrefixTuningConfig(prefix_length=3, flat=True), ParBnConfig(reduction_factor=4, scaling=4.0)),
        "parallel": ParBnConfig(reduction_factor=4, scaling=0.7),
    },
    "unipelt": lambda width: {
        "unipelt": UniPELTConfig(
            PrefixTuningConfig(prefix_length=3, flat=True, use_gating=True),
            SeqBnConfig(reduction_factor=4, use_gating=True),
            LoRAConfig(r=3, use_gating=True),
        )
    },
}


def translate(name: str, t: Tensor, case: str, e: int) -> dict[str, Tensor]:
    """A tensor of theirs, or its gradient, under our names; what multiplies from the right there is transposed."""
    words = name.split(".")
    if "phm_rule" in words and "shared_parameters" in words:
        return {"trunk.0.branch.down.A" if case == "compacter++" else "trunk.0.attn.branch.down.A": t.mT}
    block = words[words.index("layers" if "layers" in words else "h") + 1]
    if "control_trans" in words:  # the prefixes of all layers: length, layer, k or v, head, width of a head
        place = "attn.past.0" if case == "mam" else "attn.prefix"
        rows = rearrange(t, "(n l two h e) -> l two h n e", n=3, l=2, two=2, e=e)
        return {f"trunk.{i}.base.{place}.{'kv'[j]}": rows[i, j] for i in range(2) for j in range(2)}
    if "prefix_gates" in words:
        return {f"trunk.{block}.base.attn.gate.{words[-1]}": t}
    if "loras" in words:
        kind = {"lora_A": "branch.A", "lora_B": "branch.B"}.get(words[-1], f"gate.{words[-1]}")
        place = f"trunk.{block}.base.attn.base"
        if "c_attn" in words:  # GPT-2's q and v in one
            return {f"{place}.{part}.branch.{kind}": half for part, half in zip("qv", t.chunk(2), strict=True)}
        return {f"{place}.{'q' if 'q_proj' in words else 'v'}.branch.{kind}": t}
    if "gate" in words:
        return {f"trunk.{block}.branch.gate.{words[-1]}": t}
    place = {"unipelt": "branch.", "compacter": "mlp.", "phm": "mlp."}.get(case, "")
    if "attention_adapters" in words:
        place = "attn."
    place += f"branch.{'down' if 'adapter_down' in words else 'up'}"
    if words[-1] in ("weight", "bias"):
        return {f"trunk.{block}.{place}.{words[-1]}": t}
    ours = {"W_left": "t", "W_right": "s", "W": "B", "phm_rule": "A", "b": "bias"}[words[-1]]
    return {f"trunk.{block}.{place}.{ours}": t if ours == "bias" else t.mT}


def record(style: str, method: str) -> None:
    torch.manual_seed(0)
    model = {"gpt2": gpt2, "llama": llama}[style]().eval()
    model.set_attn_implementation("eager")  # torch's is_causal, which the default asks for, hides text behind a prefix
    adapters.init(model)
    draw(model.named_parameters(), 0.3)
    idx = torch.randint(31, (2, 9))
    out = {f"base/{name}": t for name, t in base(model).items()} | {"idx": idx}
    for case, config in METHODS[method](WIDTHS[style]).items():
        model.add_adapter(case, config=config)
        model.train_adapter(case)
        model.eval()
        theirs = {n: p for n, p in model.named_parameters() if p.requires_grad}
        draw(theirs.items(), 0.5)
        logits = model(idx).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())
        grads = torch.autograd.grad(loss, list(theirs.values()))
        for (n, p), g in zip(theirs.items(), grads, strict=True):
            for kind, t in (("part", p.detach()), ("grad", g)):
                ours = translate(n, t, case, model.config.hidden_size // 4)
                out |= {f"{case}/{kind}/{name}": half for name, half in ours.items()}
        out[f"{case}/logits"] = logits.detach()
        print(
            style, case, sum(p.numel() for p in theirs.values()), "numbers, logits of deviation", f"{logits.std():.2f}"
        )
        model.set_active_adapters(None)
    save_file({name: t.contiguous() for name, t in out.items()}, FIXTURES / f"{method}_{style}.safetensors")


if __name__ == "__main__":
    for method in METHODS:
        for style in WIDTHS:
            record(style, method)
