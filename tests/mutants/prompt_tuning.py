from . import Mutant

FILE = "additive/prompt_tuning.py"
MUTANTS = [
    Mutant(
        "the outputs are off by the prompt: its last ones stay, the text's last go",
        {"mask)[:, self.n :]": "mask)[:, : -self.n]"},
        "test_prompt_tuning.py::test_equals_peft[llama]",
    ),
    Mutant(
        "the prompt stands behind the text, where no token can see it",
        {"torch.cat([prompt, x], 1), 0, mask)[:, self.n :]": "torch.cat([x, prompt], 1), 0, mask)[:, : -self.n]"},
        "test_prompt_tuning.py::test_written_out[llama]",
    ),
    Mutant(
        "the prompt is added to the text's vectors instead of standing before them",
        {
            "return self.base(torch.cat([prompt, x], 1), 0, mask)[:, self.n :]": "t = min(self.n, x.shape[1])\n"
            "        x = torch.cat([x[:, :t] + prompt[:, :t], x[:, t:]], 1)\n"
            "        return self.base(x, 0, mask if mask is None else mask[:, self.n :])",
        },
        "test_prompt_tuning.py::test_written_out[gpt2]",
    ),
    Mutant(
        "the padding hides the prompt",
        {"mask = F.pad(mask, (self.n, 0), value=True)": "mask = F.pad(mask, (self.n, 0), value=False)"},
        "test_prompt_tuning.py::test_text_is_that_text[gpt2-True]",
    ),
    Mutant(
        "the text begins at position 0",
        {"make_room(model, self.length)": "make_room(model, 0)"},
        "test_prompt_tuning.py::test_text_is_that_text[gpt2-False]",
    ),
    Mutant(
        "the prompt is put before every piece of a cached text",
        {
            "return self.base(x, start + self.n, mask)": "prompt = self.prompt().expand(len(x), -1, -1)\n"
            "            return self.base(torch.cat([prompt, x], 1), start + self.n)[:, self.n :]",
        },
        "test_prompt_tuning.py::test_cache_holds_the_prompt_once[llama]",
    ),
]
