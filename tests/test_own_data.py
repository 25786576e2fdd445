"""A user's own file becomes a task, or every bad row of it is named."""

import csv
import json

import pytest

from minipeft.method import IGNORE
from minipeft.tasks import own
from minipeft.tasks.task import encode
from minipeft.tasks.world import VOCABULARY
from minipeft.tokenizer import Tokenizer

TOKENIZER, CONTEXT = Tokenizer(VOCABULARY), 24


@pytest.fixture
def read(tmp_path):
    def read(content, name="mine.jsonl", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return own.read(path, TOKENIZER, CONTEXT, **options)

    return read


def lines(rows) -> str:
    return "\n".join(map(json.dumps, rows)) + "\n"


PAIRS = [{"prompt": f"anna has {n} hats:", "completion": str(n)} for n in range(40)]


def test_pairs_are_split_without_overlap_and_the_same_every_time(read):
    task = read(lines(PAIRS), valid=0.2)
    assert (len(task.train), len(task.valid), len(task.test)) == (28, 8, 4)
    assert len({*task.train, *task.valid, *task.test}) == 40
    assert task == read(lines(PAIRS), valid=0.2)
    assert task.train != read(lines(PAIRS), valid=0.2, seed=1).train
    assert task.name == "mine" and not task.options and not task.ood


def test_equal_rows_stay_on_one_side(read):
    task = read(lines(PAIRS[:10] * 3))
    held = {*task.valid, *task.test}
    assert len(held) == 2 and not held & set(task.train) and len(task.train) == 24


def test_the_loss_covers_the_completion_or_the_whole_text(read):
    row = next(r for r in read(lines(PAIRS)).train if r.completion == "7")
    _, labels = encode(row, TOKENIZER)
    assert [y for y in labels if y != IGNORE] == [*TOKENIZER.encode("7"), TOKENIZER.end]
    text = read(lines({"text": f"anna has {n} hats."} for n in range(9))).train[0]
    x, labels = encode(text, TOKENIZER)
    assert labels == [*x[1:], TOKENIZER.end]


def test_csv_and_jsonl_say_the_same(read, tmp_path):
    rows = [{"prompt": f'say "{n}",\nplease:', "completion": f"{n}, {n}", "id": n} for n in range(10)]
    with open(tmp_path / "mine.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    ours = own.read(tmp_path / "mine.csv", TOKENIZER, CONTEXT)
    assert (ours.train, ours.valid, ours.test) == tuple(
        getattr(read(lines(rows)), s) for s in ("train", "valid", "test")
    )


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(read):
    content = lines(PAIRS).replace("\n", "\r\n")
    assert read(b"\xef\xbb\xbf" + content.encode()) == read(lines(PAIRS))
    table = "\ufeffprompt,completion\r\n" + "".join(f"{r['prompt']},{r['completion']}\r\n" for r in PAIRS)
    assert read(table, "mine.csv").train == read(lines(PAIRS)).train


LONG = {"prompt": "tom " * 30, "completion": "no"}
GOOD = PAIRS[0]
BAD_FILES = [  # name, content, what the message must say
    ("a.jsonl", "", "a.jsonl is empty"),
    ("a.jsonl", " \n\n", "a.jsonl is empty"),
    ("a.txt", "anna", "must be .jsonl or .csv, not '.txt'"),
    ("a", "anna", "not 'nothing'"),
    ("a.jsonl", b'{"text": "anna"}\n{"text": "caf\xe9"}', "not UTF-8 text: see line 2"),
    ("a.jsonl", lines([GOOD]) + "{oops}\n", "line 2: is not JSON"),
    ("a.jsonl", lines([GOOD, [1, 2]]), "line 2: is [1, 2], not an object in braces"),
    ("a.jsonl", lines([GOOD, {"question": "?"}]), "line 2: has 'question': give 'prompt' and 'completion', or 'text'"),
    ("a.jsonl", lines([GOOD, {"prompt": "tom"}]), "line 2: has 'prompt': give"),
    ("a.jsonl", lines([GOOD, {}]), "line 2: has nothing: give"),
    ("a.jsonl", lines([GOOD, GOOD | {"text": "tom"}]), "line 2: has 'prompt' and 'completion' and 'text': give"),
    ("a.jsonl", lines([GOOD, {"text": "tom"}]), "line 2: has 'text', the rows before have 'completion' and 'prompt'"),
    ("a.jsonl", lines([GOOD, GOOD | {"completion": 7}]), "line 2: 'completion' is 7, not a text"),
    ("a.jsonl", lines([GOOD, GOOD | {"completion": None}]), "line 2: 'completion' is null, not a text"),
    ("a.jsonl", lines([GOOD, GOOD | {"completion": " "}]), "line 2: 'completion' is empty"),
    ("a.jsonl", lines([GOOD, GOOD | {"prompt": ""}]), "line 2: 'prompt' is empty"),
    ("a.jsonl", "\n" + lines([GOOD, LONG]), "line 3: 33 tokens, and the model's context is 24"),
    ("a.jsonl", lines([GOOD, GOOD]), "has 1 different row"),
    ("a.csv", "prompt,answer\na,b\n", "the header is prompt,answer: name prompt and completion, or text"),
    ("a.csv", "text,text\na,b\n", "or text, once"),
    ("a.csv", "prompt,completion\na,b\nc\n", "line 3: has 1 cells, the header 2"),
    ("a.csv", "prompt,completion\na,b\nc,d,e\n", "line 3: has 3 cells, the header 2"),
    ("a.csv", 'prompt,completion\n"a\nb",c\n"d"e,f\n', "line 4: is not CSV"),
    ("a.csv", 'text\nanna\n"tom\n', "line 3: is not CSV"),
]


@pytest.mark.parametrize(("name", "content", "says"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_what_is_wrong_is_said(read, name, content, says):
    with pytest.raises(ValueError) as error:
        read(content, name)
    assert says in str(error.value)


def test_ten_bad_rows_are_named_and_the_rest_counted(read):
    with pytest.raises(ValueError) as error:
        read(lines([GOOD] + [{"text": ""}, LONG] * 8))
    said = str(error.value).splitlines()
    assert said[0] == "mine.jsonl has 16 bad rows:" and said[-1] == "  and 6 more" and len(said) == 12
    assert [int(s.split()[1].rstrip(":")) for s in said[1:-1]] == list(range(2, 12))


def test_long_rows_are_left_out_only_when_asked_and_never_in_silence(read):
    with pytest.warns(UserWarning, match=r"left out 1 bad row:\n  line 1: 33 tokens"):
        task = read(lines([LONG, *PAIRS]), drop_long=True)
    assert len({*task.train, *task.valid, *task.test}) == 40


def test_shares_must_leave_something_to_train_on(read):
    with pytest.raises(ValueError, match="not 0.5 and 0.5"):
        read(lines(PAIRS), valid=0.5, test=0.5)
    with pytest.raises(FileNotFoundError):
        own.read("nowhere.jsonl", TOKENIZER, CONTEXT)
