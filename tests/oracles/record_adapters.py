"""Record what AdapterHub's `adapters` computes, for tests/test_adapters.py to compare with.

`adapters` needs an older transformers than the tests, hence an environment of its own:

    python -m venv oracle && oracle/bin/pip install torch==2.13.0 adapters==1.3.0
    oracle/bin/python tests/oracles/record_adapters.py

For each style one file, tests/fixtures/adapters_STYLE.safetensors, in minipeft's names:

    base/NAME             the weights of a tiny base, drawn so that logits have a standard deviation above 1
    idx                   tokens: (b, t)
    CASE/part/NAME        an adapter's tensors, drawn at random
    CASE/logits           (b, t, v)
    CASE/grad/NAME        gradients of the mean cross-entropy of each next token
"""

from pathlib import Path

import adapters
import torch
import torch.nn.functional as F
from adapters import DoubleSeqBnConfig, SeqBnConfig
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = {  # placement and activation; reduction_factor 4 makes bottlenecks of 5 (GPT-2) and 6 (LLaMA)
    "houlsby-gelu": DoubleSeqBnConfig(reduction_factor=4, non_linearity="gelu"),
    "houlsby-silu": DoubleSeqBnConfig(reduction_factor=4, non_linearity="swish"),
    "pfeiffer-relu": SeqBnConfig(reduction_factor=4, non_linearity="relu"),
}


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=31, n_positions=16, n_embd=20, n_layer=2, n_head=4, n_inner=28))


def llama() -> nn.Module:
    c = LlamaConfig(
        vocab_size=31, max_position_embeddings=16, hidden_size=24, intermediate_size=28, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
    )  # fmt: skip
    return LlamaForCausalLM(c)


def draw(parameters, std: float) -> None:
    """Random values for all, around 1 for what scales and around 0 for the rest."""
    for name, p in parameters:
        centre = 1.0 if p.ndim == 1 and name.endswith("weight") else 0.0
        nn.init.normal_(p, centre, std)


def base(model: nn.Module) -> dict[str, Tensor]:
    """The weights under minipeft's names: Conv1D transposed, the fused q, k, v apart."""
    state, ours = model.state_dict(), {}
    if isinstance(model, GPT2LMHeadModel):
        ours["tokens.weight"], ours["positions.weight"] = (
            state["transformer.wte.weight"],
            state["transformer.wpe.weight"],
        )
        for kind in ("weight", "bias"):
            ours[f"norm.{kind}"] = state[f"transformer.ln_f.{kind}"]
            for i in range(model.config.n_layer):
                there, here = f"transformer.h.{i}.", f"trunk.{i}."
                for a, b in (("ln_1", "norm1"), ("ln_2", "norm2")):
                    ours[f"{here}{b}.{kind}"] = state[f"{there}{a}.{kind}"]
                for a, b in (("attn.c_proj", "attn.o"), ("mlp.c_fc", "mlp.up"), ("mlp.c_proj", "mlp.down")):
                    ours[f"{here}{b}.{kind}"] = state[f"{there}{a}.{kind}"].t()
                for part, b in zip(state[f"{there}attn.c_attn.{kind}"].chunk(3, -1), "qkv", strict=True):
                    ours[f"{here}attn.{b}.{kind}"] = part.t()
        return ours
    ours["tokens.weight"], ours["head.weight"] = state["model.embed_tokens.weight"], state["lm_head.weight"]
    ours["norm.weight"] = state["model.norm.weight"]
    names = {
        "input_layernorm": "norm1", "post_attention_layernorm": "norm2", "self_attn.q_proj": "attn.q",
        "self_attn.k_proj": "attn.k", "self_attn.v_proj": "attn.v", "self_attn.o_proj": "attn.o",
        "mlp.up_proj": "mlp.up", "mlp.gate_proj": "mlp.gate", "mlp.down_proj": "mlp.down",
    }  # fmt: skip
    for i in range(model.config.num_hidden_layers):
        for a, b in names.items():
            ours[f"trunk.{i}.{b}.weight"] = state[f"model.layers.{i}.{a}.weight"]
    return ours


def part(name: str, case: str) -> str:
    """An adapter tensor's name in minipeft: ...layers.1.output_adapters.adapters.CASE.adapter_up.bias"""
    words = name.split(".")
    block = words[words.index("layers" if "layers" in words else "h") + 1]
    sublayer = "attn" if "attention_adapters" in words else "mlp" if case.startswith("houlsby") else None
    place = f"trunk.{block}.{sublayer}" if sublayer else f"trunk.{block}"
    return f"{place}.branch.{'down' if 'adapter_down' in words else 'up'}.{words[-1]}"


def record(style: str, model: nn.Module) -> None:
    torch.manual_seed(0)
    model.eval()
    adapters.init(model)
    draw(model.named_parameters(), 0.3)
    idx = torch.randint(31, (2, 9))
    out = {f"base/{name}": t for name, t in base(model).items()} | {"idx": idx}
    for case, config in CASES.items():
        model.add_adapter(case, config=config)
        model.train_adapter(case)  # freezes all but this adapter, and makes it the active one
        model.eval()
        mine = {part(n, case): p for n, p in model.named_parameters() if p.requires_grad}
        draw(mine.items(), 0.5)
        logits = model(idx).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())
        grads = torch.autograd.grad(loss, list(mine.values()))
        out |= {f"{case}/part/{name}": p.detach() for name, p in mine.items()} | {f"{case}/logits": logits.detach()}
        out |= {f"{case}/grad/{name}": g for name, g in zip(mine, grads, strict=True)}
        print(style, case, sum(p.numel() for p in mine.values()), "numbers, logits of deviation", f"{logits.std():.2f}")
        model.set_active_adapters(None)
    save_file({name: t.contiguous() for name, t in out.items()}, FIXTURES / f"adapters_{style}.safetensors")


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    record("gpt2", gpt2())
    record("llama", llama())
