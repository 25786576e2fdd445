"""The bundled tokenizer, against Hugging Face's `tokenizers` reading the same file."""

import json
import string
from random import Random

import pytest
from tokenizers import Tokenizer as Theirs

from minipeft.tasks.world import VOCABULARY
from minipeft.tokenizer import END, UNKNOWN, Tokenizer, split, vocabulary, write


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write(VOCABULARY, folder, context=96)
    return Tokenizer.from_file(folder / "tokenizer.json"), Theirs.from_file(str(folder / "tokenizer.json"))


ALPHABETS = [
    "anatom the is in.",
    string.printable,
    "aeioué ÉÜñçøßİıſŒ\u0301\u0308fi½",
    "ab ▁漢字かなЖдиΣσ한글עבא हिन्दी😀🏽\u200b\xa0’“—",
]


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_encodes_and_decodes_as_tokenizers_does(both, alphabet):
    ours, theirs = both
    rng = Random(alphabet)
    words = [piece[1:] for piece in VOCABULARY if piece[0] == "▁"]
    for _ in range(1500):
        text = "".join(rng.choices(alphabet, k=rng.randrange(14)))
        if rng.random() < 0.5:
            text = f"{text} {rng.choice(words).title()}{rng.choice(['', ' ', END, UNKNOWN])}{text[::-1]}"
        expected = theirs.encode(text).ids
        assert ours.encode(text) == expected, text
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=False), text


def test_transformers_reads_it(both, tmp_path):
    transformers = pytest.importorskip("transformers")
    write(VOCABULARY, tmp_path, context=96)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "Zob, the cat: 3 cafés!"
    assert theirs(text).input_ids == both[0].encode(text)
    assert theirs.eos_token_id == theirs.bos_token_id == both[0].end and theirs.model_max_length == 96


def test_a_known_word_is_one_token_and_any_other_is_spelt(both):
    ours, _ = both
    assert [ours.pieces[i] for i in ours.encode("Anna's zébra")] == ["▁anna", "'", "s", "▁", "z", "e", "b", "r", "a"]
    assert ours.decode(ours.encode("where is  tom?\nin the garden.")) == "where is tom? in the garden."
    assert ours.encode("") == ours.encode(" \n ") == []
    assert ours.decode([]) == ""


def test_ascii_text_comes_back(both):
    ours, _ = both
    rng = Random(0)
    for _ in range(200):
        text = "".join(rng.choices(string.ascii_lowercase + string.digits + " .,?!'", k=30))
        assert ours.decode(ours.encode(text)) == " ".join(text.split())


def test_spelt_is_the_share_of_words_outside_the_vocabulary(both):
    ours, _ = both
    assert ours.spelt("anna sees a zebra, 42 times?") == pytest.approx(2 / 5)  # zebra and times
    assert ours.spelt("") == ours.spelt("42!") == 0


def test_ids_are_stable_and_without_gaps():
    ids = vocabulary(["cat", "a", "cat"])
    assert list(ids.values()) == list(range(len(ids)))
    assert ids[END] == 0 and ids[UNKNOWN] == 1 and list(ids)[-2:] == ["▁a", "▁cat"]


def test_another_tokenizer_is_refused(both, tmp_path):
    path = tmp_path / "tokenizer.json"
    content = json.loads(both[1].to_str())
    for change in ({"model": {"type": "WordPiece", "vocab": {}}}, {"normalizer": None}):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match="is not the tokenizer of a bundled model"):
            Tokenizer.from_file(path)
    assert split("Don't") == ["▁don", "'", "t"]
