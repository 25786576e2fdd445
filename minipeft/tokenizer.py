"""The bundled models' tokenizer: a word it knows is one token, any other word is spelt with letters.

    text       Anna's café: 2 zebras.
    plain      anna's cafe: 2 zebras.                      lower case, no accents, single spaces
    pieces     ▁anna ' s ▁cafe : ▁ 2 ▁zebras .              ▁ is the space before a word; all but letters stands alone
    tokens     ▁anna ' s ▁ c a f e : ▁ 2 ▁ z e b r a s .    no ▁cafe and no ▁zebras in the vocabulary

So any English text encodes, and decoding is joining.  A character with no token of its own becomes <unk>.

`tokenizer.json` is in the format of Hugging Face's `tokenizers`, which reads it with the same result: its model is a
byte-pair encoding without a single merge.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

SPACE, UNKNOWN, END = "▁", "<unk>", "<|endoftext|>"
LETTERS, DIGITS, MARKS = "abcdefghijklmnopqrstuvwxyz", "0123456789", ".,:;?!'\"()-"
PIECE = re.compile(r"▁?[a-z]+|▁|[^a-z▁]")


class Tokenizer:
    """Text to token ids and back.  `start` and `end` are what a text begins and ends with: here the same token."""

    def __init__(self, vocabulary: dict[str, int]):
        self.vocabulary = vocabulary
        self.pieces = {i: piece for piece, i in vocabulary.items()}
        self.end = vocabulary[END]
        self.start = [self.end]

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without start and end; a `<|endoftext|>` written in the text is that token."""
        v = self.vocabulary
        ids = []
        for part in re.split(rf"({re.escape(END)}|{UNKNOWN})", text):
            if part in (END, UNKNOWN):
                ids.append(v[part])
                continue
            for piece in split(part):
                ids += [v[piece]] if piece in v else [v.get(letter, v[UNKNOWN]) for letter in piece]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.pieces[i] for i in ids).replace(SPACE, " ").removeprefix(" ")

    def spelt(self, text: str) -> float:
        """The share of a text's words, its runs of letters, that are outside the vocabulary and had to be spelt."""
        words = [piece for piece in split(text) if piece[-1] in LETTERS]
        return sum(word not in self.vocabulary for word in words) / max(len(words), 1)

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """Read a `tokenizer.json` that `write` wrote; ValueError for any other kind of tokenizer."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content != layout(vocabulary := content.get("model", {}).get("vocab", {})):
            raise ValueError(f"{path} is not the tokenizer of a bundled model: `transformers` reads it")
        return cls(vocabulary)


def split(text: str) -> list[str]:
    """The pieces of a text: words with the space before them, and all that isn't a letter one by one."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] != "M").lower()
    plain = re.sub(r"[ \t\r\n]+", " ", plain).strip(" ").replace(" ", SPACE)
    return PIECE.findall(plain if plain.startswith(SPACE) or not plain else SPACE + plain)


def vocabulary(words: Iterable[str]) -> dict[str, int]:
    """{piece: id}: the two special tokens, then single characters, then whole words."""
    pieces = [END, UNKNOWN, SPACE, *LETTERS, *DIGITS, *MARKS, *sorted({SPACE + word for word in words})]
    return {piece: i for i, piece in enumerate(pieces)}


def layout(vocabulary: dict[str, int]) -> dict:
    """The content of `tokenizer.json`: the steps of `Tokenizer.encode` in the words of Hugging Face's `tokenizers`."""
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    space = dict(type="Metaspace", replacement=SPACE, prepend_scheme="always", split=True)
    alone = dict(type="Split", pattern={"Regex": "[^a-z▁]"}, behavior="Isolated", invert=False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocabulary.get(t), "content": t, **special} for t in (END, UNKNOWN)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFD"},
                {"type": "StripAccents"},
                {"type": "Lowercase"},
                {"type": "Replace", "pattern": {"Regex": "[ \\t\\r\\n]+"}, "content": " "},
                {"type": "Replace", "pattern": {"Regex": "^ | $"}, "content": ""},
            ],
        },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [space, alone]},
        "post_processor": None,
        "decoder": space,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": vocabulary,
            "merges": [],
        },
    }


def write(vocabulary: dict[str, int], folder: str | Path, context: int) -> None:
    """tokenizer.json and tokenizer_config.json, as `transformers` looks for them."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "pad_token": END,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    for name, content in (("tokenizer.json", layout(vocabulary)), ("tokenizer_config.json", config)):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (Path(folder) / name).write_text(text + "\n", encoding="utf-8")
