"""Files, notebooks, folders and archives, honest and hostile: what counts of them, and what is said of the rest."""

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from minipeft.grading import entries, notebook
from minipeft.grading.handed_in import handed_in, names, submissions

EXERCISES = [
    SimpleNamespace(topic=topic, name=name, lesson=lesson)
    for topic, name, lesson in (
        ("lora", "lora_linear", 15),
        ("lora", "lora_rank", 15),
        ("krona", "krona_rank", 16),
        ("krona_res", "krona_res_rank", 17),
    )
]
LORA = b"def lora_linear(x):\n    return x\n\n\ndef lora_rank(r):\n    return r\n"
OTHER = LORA.replace(b"return x", b"return 2 * x")
STUB = b'def lora_linear(x):\n    """A layer."""\n    raise NotImplementedError("exercise 15.1")\n'
KRONA = b"def krona_rank(a):\n    return a\n"


def read(path, **more):
    return handed_in(path, EXERCISES, **more)


def zip_of(path: Path, members: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, text in members.items():
            z.writestr(name, text)
    return path


def folder_of(path: Path, members: dict[str, bytes]) -> Path:
    for name, text in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(text)
    return path


def cells(*texts, **more) -> bytes:
    made = [
        {"cell_type": "code", "source": t, "outputs": [], "metadata": {}} if isinstance(t, str) else t for t in texts
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made} | more).encode()


# -- one file ---------------------------------------------------------------------------------------------------------


def test_a_file_is_taken_byte_by_byte(tmp_path):
    text = LORA.replace(b"\n", b"\r\n")
    handed = read(folder_of(tmp_path, {"lora.py": text}) / "lora.py")
    assert (handed.name, handed.kind, handed.reason, handed.notes) == ("lora", "file", "", ())
    assert handed.files["lora"].text == text and handed.files["lora"].where == "lora.py"
    assert handed.sha256 == hashlib.sha256(text).hexdigest()
    assert read(tmp_path / "lora.py", name="ada").name == "ada"


@pytest.mark.parametrize(
    "name", ["lora (1).py", "lora-2.py", "lora_3.PY", "smith_12345_lora.py", "Lora - Copy (2).py", "a.b_lora-1.py"]
)
def test_names_that_platforms_make(tmp_path, name):
    handed = read(folder_of(tmp_path, {name: STUB}) / name)
    assert handed.files["lora"].text == STUB
    assert any("taken for exercises/lora.py" in note for note in handed.notes)


def test_the_longer_topic_is_meant(tmp_path):
    handed = read(folder_of(tmp_path, {"x/ada_krona_res (1).py": b"pass"}) / "x")
    assert set(handed.files) == {"krona_res"}


@pytest.mark.parametrize("name", ["flora.py", "lorax.py", "test_lora.py", "lora.txt.py"])
def test_names_that_are_no_likeness(tmp_path, name):
    handed = read(folder_of(tmp_path, {name: b"x = 1\n"}) / name)
    assert not handed.files and name in handed.reason and "lora_linear" in handed.reason


def test_a_file_with_another_name_serves_the_topics_whose_functions_it_defines(tmp_path):
    text = LORA + KRONA + b'"""\ndef krona_res_rank(): in a string\n"""\n'
    handed = read(folder_of(tmp_path, {"homework.py": text}) / "homework.py")
    assert set(handed.files) == {"lora", "krona"}
    assert handed.files["krona"].where == "homework.py"


def test_a_file_that_is_no_python_is_found_by_its_looks(tmp_path):
    handed = read(folder_of(tmp_path, {"homework.py": b"def lora_linear(x)\n  return\n"}) / "homework.py")
    assert set(handed.files) == {"lora"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LORA.decode().encode("utf-16"), "UTF-16"),
        (LORA + b"\0", "NUL"),
        (b"# \xe9\n" + LORA, "encoding"),
        (b"# coding: klingon\n" + LORA, "encoding"),
    ],
)
def test_odd_bytes_stay_as_they_are_and_are_told(tmp_path, text, said):
    handed = read(folder_of(tmp_path, {"lora.py": text}) / "lora.py")
    assert handed.files["lora"].text == text
    assert any(said in note for note in handed.notes)


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf" + LORA, b"# coding: latin-1\n# \xe9\n" + LORA, b"# coding: rot13\n"])
def test_what_python_reads_is_fine(tmp_path, text):
    assert read(folder_of(tmp_path, {"lora.py": text}) / "lora.py").notes == ()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("lora.py", b"#" * (2**20 + 1), "larger than 1 MB"),
        ("lora.py", b"", "empty"),
        ("lora.txt", LORA, "none of .py"),
        ("work.zip", b"", "empty"),
        ("work.zip", b"PK\x03\x04" + b"x" * 99, "damaged or no ZIP"),
        ("work.zip", LORA, "damaged or no ZIP"),
        ("work.tar", LORA * 20, "damaged or no tar"),
        ("work.tgz", b"\x1f\x8b" + b"x" * 99, "damaged"),
        ("work.ipynb", b"{", "damaged or no notebook"),
        ("work.ipynb", b"[1, 2]", "format 3 or 4"),
        ("work.ipynb", b'{"nbformat": 4, "cells": 3}', "format 3 or 4"),
        ("work.ipynb", b'{"nbformat": [], "cells": []}', "format 3 or 4"),
        ("work.ipynb", b"[" * 100_000, "damaged or no notebook"),
        ("work.ipynb", b"[" + b"0," * 1_000_000 + b"0]", "clear its outputs"),
        ("work.ipynb", b'{"nbformat": 4, "cells": []}', "none of the course's functions"),
    ],
)
def test_what_cant_be_read_gets_a_sentence(tmp_path, name, text, said):
    handed = read(folder_of(tmp_path, {name: text}) / name)
    assert not handed.files and said in handed.reason
    assert len(handed.sha256) == 64


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "ada.zip")


def test_links_and_pipes_are_not_opened(tmp_path):
    folder_of(tmp_path, {"lora.py": LORA})
    (tmp_path / "link.py").symlink_to(tmp_path / "lora.py")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    assert "is a link" in read(tmp_path / "link.py").reason
    assert "is a link" in read(tmp_path / "gone.py").reason
    assert "not a regular file" in read(tmp_path / "pipe.py").reason


# -- a folder ---------------------------------------------------------------------------------------------------------


def test_a_folder(tmp_path):
    work = folder_of(tmp_path / "ada.l", {"deep/Exercises/LORA.py": LORA, "numpy.py": b"", "a.bin": b"", "b": b""})
    handed = read(work)
    assert (handed.name, handed.kind, handed.reason) == ("ada.l", "folder", "")
    assert handed.files["lora"].where == "deep/Exercises/LORA.py"
    assert handed.notes == ("numpy.py, a.bin and b do not count",)


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(folder_of(tmp_path / "ada", {"lora.py": LORA}))
    assert read(".").name == "ada"


def test_a_folders_hash_is_of_what_counts(tmp_path):
    one = folder_of(tmp_path / "one", {"lora.py": LORA, "krona.py": KRONA})
    two = folder_of(tmp_path / "two", {"krona.py": KRONA, "lora.py": LORA, "diary.txt": b"x", ".DS_Store": b"y"})
    assert read(one).sha256 == read(two).sha256
    folder_of(two, {"lora.py": OTHER})
    assert read(one).sha256 != read(two).sha256


def test_what_tools_leave_behind_is_passed_over(tmp_path):
    behind = [
        "__MACOSX/._lora.py",
        ".backup/lora.py",
        ".venv/lib/lora.py",
        "venv/lora.py",
        ".ipynb_checkpoints/lora.py",
    ]
    handed = read(folder_of(tmp_path, dict.fromkeys(behind, OTHER)))
    assert (
        not handed.files
        and handed.notes == ()
        and "no file of the course (exercises/lora.py and 2 more)" in handed.reason
    )
    handed = read(folder_of(tmp_path, {"ex/lora.py": LORA}))
    assert handed.files["lora"].text == LORA and handed.notes == ()


def test_the_courses_own_files_never_count(tmp_path):
    own = [
        "solutions/lora.py",
        "tests/exercises/wrong/lora.py",
        "minipeft/reparametrization/lora.py",
        "tests/test_lora.py",
    ]
    work = folder_of(tmp_path / "minipeft-main", dict.fromkeys(own, LORA))
    assert not read(work).files
    handed = read(folder_of(work, {"exercises/lora.py": STUB}))
    assert handed.files["lora"].text == STUB


@pytest.mark.parametrize(
    ("members", "counts"),
    [
        ({"lora.py": OTHER, "x/y/exercises/lora.py": LORA}, "x/y/exercises/lora.py"),
        ({"lora (1).py": OTHER, "x/lora.py": LORA}, "x/lora.py"),
        ({"exercises/lora-1.py": OTHER, "lora.py": LORA}, "lora.py"),
        ({"x/y/lora.py": OTHER, "z/lora.py": LORA}, "z/lora.py"),
        ({"Lora.py": OTHER, "lora.py": LORA}, "lora.py"),
        ({"homework.py": OTHER, "x/smith_lora.py": LORA}, "x/smith_lora.py"),
    ],
)
def test_of_several_the_rule_chooses_and_says_so(tmp_path, members, counts):
    handed = read(zip_of(tmp_path / "a.zip", members))
    assert handed.files["lora"].where == counts and handed.files["lora"].text == LORA
    if "homework.py" not in members:
        assert any(note.startswith(f"for lora, {counts} counts, and not ") for note in handed.notes)


def test_of_two_that_fit_equally_well_none_is_taken(tmp_path):
    handed = read(folder_of(tmp_path, {"a/lora.py": LORA, "b/lora.py": OTHER, "krona.py": KRONA}))
    assert set(handed.files) == {"krona"}
    assert any("a/lora.py and b/lora.py could each be the work on lora" in note for note in handed.notes)


def test_of_two_that_are_equal_one_counts(tmp_path):
    handed = read(folder_of(tmp_path, {"a/lora.py": LORA, "b/lora.py": LORA}))
    assert handed.files["lora"].where == "a/lora.py"


def test_links_and_pipes_in_a_folder(tmp_path):
    folder_of(tmp_path, {"secret/lora.py": LORA})
    work = folder_of(tmp_path / "work", {"krona.py": KRONA})
    (work / "lora.py").symlink_to(tmp_path / "secret/lora.py")
    (work / "exercises").symlink_to(tmp_path / "secret")
    os.mkfifo(work / "krona_res.py")
    handed = read(work)
    assert set(handed.files) == {"krona"}
    for name in ("lora.py", "exercises", "krona_res.py"):
        assert any(note.startswith(f"{name} was not looked at: it is ") for note in handed.notes)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_file(tmp_path):
    folder_of(tmp_path, {"lora.py": LORA})
    (tmp_path / "lora.py").chmod(0)
    assert "Permission denied" in read(tmp_path).reason


def test_a_file_that_goes_meanwhile(tmp_path, monkeypatch):
    folder_of(tmp_path, {"lora.py": LORA, "krona.py": KRONA})
    listing = entries.folder(tmp_path)
    (tmp_path / "lora.py").unlink()
    monkeypatch.setattr("minipeft.grading.handed_in.folder", lambda _: listing)
    handed = read(tmp_path)
    assert set(handed.files) == {"krona"} and any("lora.py can't be read" in note for note in handed.notes)


def test_depth_and_count(tmp_path, monkeypatch):
    work = folder_of(tmp_path, {"a/" * 17 + "lora.py": LORA})
    assert any("16 folders deep" in note for note in read(work).notes)
    monkeypatch.setattr(entries, "MEMBERS", 3)
    assert "more than 3 files" in read(folder_of(work, {f"{i}.txt": b"" for i in range(5)})).reason


# -- ZIP --------------------------------------------------------------------------------------------------------------


def test_a_zip(tmp_path):
    members = {"ada/exercises/lora.py": LORA, "__MACOSX/ada/._lora.py": b"\0", "ada/krona.py": KRONA, "ada/x.txt": b""}
    handed = read(zip_of(tmp_path / "ada.zip", members))
    assert (handed.name, handed.kind, handed.reason) == ("ada", "zip", "")
    assert handed.files["lora"].where == "ada/exercises/lora.py" and handed.files["krona"].text == KRONA
    assert handed.notes == ("ada/x.txt does not count",)
    assert list(tmp_path.iterdir()) == [tmp_path / "ada.zip"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../lora.py", "leads out"),
        ("exercises/../../lora.py", "leads out"),
        ("/etc/lora.py", "leads out"),
        ("C:\\lora.py", "leads out"),
        ("..\\lora.py", "leads out"),
        ("a\nb/lora.py", "control characters"),
        ("a\x1b[2J/lora.py", "control characters"),
        ("a/" * 20 + "lora.py", "folders deep"),
    ],
)
def test_hostile_names(tmp_path, name, said):
    handed = read(zip_of(tmp_path / "a.zip", {name: LORA, "krona.py": KRONA}))
    assert set(handed.files) == {"krona"}
    (note,) = handed.notes
    assert said in note and note.isprintable() and len(note) < 300


def test_a_name_with_nul(tmp_path):
    zip_of(tmp_path / "a.zip", {"loraX.py": LORA, "krona.py": KRONA})
    data = (tmp_path / "a.zip").read_bytes().replace(b"loraX.py", b"lora.py\0")
    (tmp_path / "a.zip").write_bytes(data)
    handed = read(tmp_path / "a.zip")
    assert set(handed.files) == {"krona"} and "control characters" in handed.notes[0]


def test_honest_names(tmp_path):
    handed = read(zip_of(tmp_path / "a.zip", {"exercises\\lora.py": LORA, "n" * 300 + "/krona.py": KRONA}))
    assert handed.files["lora"].where == "exercises/lora.py" and len(handed.files["krona"].where) == 100


def test_names_in_other_encodings(tmp_path):
    zip_of(tmp_path / "a.zip", {"xx/lora.py": LORA, "yy/krona.py": KRONA})  # their flag says: not UTF-8
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"xx/", "ü/".encode()).replace(b"yy/", b"y\x81/"))
    handed = read(tmp_path / "a.zip")
    assert handed.files["lora"].where == "ü/lora.py" and handed.files["krona"].where == "yü/krona.py"  # cp437


def test_names_that_only_say_that_they_are_utf8(tmp_path):
    zip_of(tmp_path / "a.zip", {"ü/lora.py": LORA})
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace("ü".encode(), b"\xff\xfe"))
    assert "not UTF-8" in read(tmp_path / "a.zip").reason


def test_members_of_one_name(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as z, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        z.writestr("lora.py", LORA)
        z.writestr("lora.py", OTHER)
    handed = read(path)
    assert not handed.files and "lora.py and lora.py could each be" in handed.reason


def test_links_and_devices_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for name, mode in (("lora.py", 0o120777), ("krona.py", 0o020666), ("krona_res.py", 0o100644)):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            z.writestr(info, "/etc/passwd")
    handed = read(tmp_path / "a.zip")
    assert set(handed.files) == {"krona_res"} and sum("no regular file" in note for note in handed.notes) == 2


def patched(path: Path, at_local: int, at_central: int, value: bytes) -> None:
    """Write the same bytes into the first member's local header and its entry in the directory."""
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[at_local : at_local + len(value)] = value
    data[central + at_central : central + at_central + len(value)] = value
    path.write_bytes(data)


def test_encrypted_and_oddly_packed_members(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"lora.py": LORA, "krona.py": KRONA})
    patched(path, 6, 8, b"\x01\x00")
    assert "without a password" in read(path).notes[0] and set(read(path).files) == {"krona"}
    patched(zip_of(path, {"lora.py": LORA}), 8, 10, struct.pack("<H", 14))  # LZMA
    assert "unusual way" in read(path).notes[0]


def test_damage(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"lora.py": LORA, "krona.py": KRONA})
    whole = path.read_bytes()
    patched(path, 14, 16, b"\0\0\0\0")
    handed = read(path)
    assert set(handed.files) == {"krona"} and "lora.py is damaged: Bad CRC-32" in handed.notes[0]
    for length in (10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        assert "damaged or no ZIP" in read(path).reason


def test_any_damage_gets_an_answer(tmp_path):
    """Each byte of a small archive, changed: nothing is raised, and if something is still read, it is right or told."""
    path = zip_of(tmp_path / "a.zip", {"lora.py": LORA})
    whole = path.read_bytes()
    for at in range(len(whole)):
        for flip in (0xFF, 0x01):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            handed = read(path)
            assert handed.files.keys() <= {"lora"} and (handed.files or handed.reason)
            assert all(source.text == LORA for source in handed.files.values())
            assert "can't be read (" not in handed.reason  # the net under the whole was not needed


def test_bombs(tmp_path, monkeypatch):
    handed = read(zip_of(tmp_path / "a.zip", {"work.ipynb": bytes(15 * 2**20), "lora.py": LORA, "x.bin": bytes(2**21)}))
    assert set(handed.files) == {"lora"} and any("zip bomb" in note and "work.ipynb" in note for note in handed.notes)
    handed = read(zip_of(tmp_path / "b.zip", {"lora.py": bytes(2**20 + 1)[:-9] + os.urandom(2**13)}))
    assert "larger than 1 MB" in handed.reason
    monkeypatch.setattr("minipeft.grading.handed_in.TOTAL", 5000)
    many = {f"{i}/lora.py": b"#" * 1000 for i in range(6)}
    assert "holds more than" in read(zip_of(tmp_path / "c.zip", many)).reason


def test_a_size_that_is_a_lie(tmp_path):
    """The directory says 10 bytes; there are 3 million."""
    path = zip_of(tmp_path / "a.zip", {"lora.py": bytes(3_000_000)})
    patched(path, 22, 24, struct.pack("<I", 10))
    assert "damaged" in read(path).reason


def test_a_bomb_of_overlapping_members(tmp_path):
    """Many entries in the directory, one kernel of data."""
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = kernel.compress(bytes(2**20)) + kernel.flush()
    crc, name = zlib.crc32(bytes(2**20)), b"lora.py"
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), 2**20, len(name), 0) + name + packed
    entry = (
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(packed), 2**20, len(name), *[0] * 6) + name
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1000, 1000, 1000 * len(entry), len(local), 0)
    (tmp_path / "a.zip").write_bytes(local + 1000 * entry + end)
    assert "overlap" in read(tmp_path / "a.zip").reason
    single = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)
    (tmp_path / "a.zip").write_bytes(local + entry + single)
    assert read(tmp_path / "a.zip").files  # the same bytes once are a ZIP like any other


def test_too_many_members(tmp_path):
    handed = read(zip_of(tmp_path / "a.zip", {f"{i}.txt": b"" for i in range(2001)}))
    assert "more than 2,000 files" in handed.reason


def test_archives_within_are_named_and_not_opened(tmp_path):
    inner = zip_of(tmp_path / "inner.zip", {"lora.py": LORA}).read_bytes()
    handed = read(zip_of(tmp_path / "a.zip", {"inner.zip": inner, "work.7z": b""}))
    assert not handed.files and any("inner.zip and work.7z inside was not opened" in note for note in handed.notes)


def test_notes_are_bounded(tmp_path):
    handed = read(zip_of(tmp_path / "a.zip", {f"../{i}.py": b"" for i in range(500)} | {"lora.py": LORA}))
    assert len(handed.notes) == 30 and handed.notes[-1] == "there are 471 more notes of this kind"


# -- tar --------------------------------------------------------------------------------------------------------------


def tar_of(path: Path, members, format=tarfile.PAX_FORMAT, mode="w:gz") -> Path:
    with tarfile.open(path, mode, format=format) as t:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if len(content) > 1:
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
            else:  # a type
                info.type, info.linkname = content, "/etc/passwd"
                t.addfile(info)
    return path


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(("name", "mode"), [("ada.tgz", "w:gz"), ("ada.tar.gz", "w:gz"), ("ada.tar", "w")])
def test_a_tar(tmp_path, format, name, mode):
    long = "n" * 80 + "/" + "m" * 80 + ("/lora.py" if format == tarfile.USTAR_FORMAT else "ü/lora.py")
    handed = read(
        tar_of(tmp_path / name, [("exercises", tarfile.DIRTYPE), (long, LORA), ("krona.py", KRONA)], format, mode)
    )
    assert (handed.name, handed.kind, handed.notes) == ("ada", "zip", ())
    assert handed.files["lora"].text == LORA and handed.files["krona"].text == KRONA


def test_dots_in_front_of_names(tmp_path):
    """As `tar czf ada.tgz .` writes them."""
    tar_of(tmp_path / "a.tgz", [(".", tarfile.DIRTYPE), ("./exercises/lora.py", LORA)])
    zip_of(tmp_path / "a.zip", {"./": b"", "./exercises//lora.py": LORA})
    for name in ("a.tgz", "a.zip"):
        handed = read(tmp_path / name)
        assert handed.files["lora"].where == "exercises/lora.py" and handed.notes == ()


def test_links_and_devices_in_a_tar(tmp_path):
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    handed = read(tar_of(tmp_path / "a.tgz", [("lora.py", kind) for kind in kinds] + [("../krona.py", KRONA)]))
    assert not handed.files
    assert sum("no regular file" in note for note in handed.notes) == 4 and any("leads out" in n for n in handed.notes)


def test_a_damaged_tar(tmp_path):
    whole = tar_of(tmp_path / "a.tar", [("lora.py", LORA)], mode="w").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:550])
    assert "in the middle of a file" in read(tmp_path / "a.tar").reason
    for at in range(0, 512, 3):
        (tmp_path / "a.tar").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        assert "can't be read (" not in read(tmp_path / "a.tar").reason
    packed = gzip.compress(whole)
    for length in (5, 12, len(packed) // 2, len(packed) - 4):
        (tmp_path / "a.tgz").write_bytes(packed[:length])
        assert "damaged" in read(tmp_path / "a.tgz").reason


def test_a_gzip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "TOTAL", 2**20)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(2**24)))
    assert "unpack to more than" in read(tmp_path / "a.tgz").reason


# -- notebooks --------------------------------------------------------------------------------------------------------


def drawn(tmp_path, *texts, **more) -> str:
    handed = read(folder_of(tmp_path, {"work.ipynb": cells(*texts, **more)}) / "work.ipynb")
    assert handed.kind == "notebook" and handed.files["lora"].where == "work.ipynb"
    return handed.files["lora"].text.decode()


def test_the_last_definition_and_what_it_needs(tmp_path):
    text = drawn(
        tmp_path,
        "import math, os\nimport torch\nSCALE = 2 / 3\nunused = 5",
        {"cell_type": "markdown", "source": "def lora_linear(x): no code"},
        "def helper(x):\n    return other(x) * SCALE\n\ndef lora_linear(x):\n    return 'first'",
        "print('never run')\nraise SystemExit\nopen('x', 'w')",
        "def other(x):\n    return math.sqrt(x)  # a comment\n\n\n"
        "def lora_linear(x):\n    unused = 3\n    return helper(x)\n",
        "lora_linear(3)",
    )
    assert text == (
        "# cell 1\nimport math, os\n\n\n# cell 1\nSCALE = 2 / 3\n\n\n"
        "# cell 3\ndef helper(x):\n    return other(x) * SCALE\n\n\n"
        "# cell 5\ndef other(x):\n    return math.sqrt(x)  # a comment\n\n\n"
        "# cell 5\ndef lora_linear(x):\n    unused = 3\n    return helper(x)\n"
    )


def test_a_drawn_source_does_what_the_notebook_does(tmp_path):
    """Names mean what they would after running the cells: defaults and bases at once, bodies at the end."""
    pages = (
        "r = 4\ns = r * 10\nr = 8",
        "class Base:\n    a = 1",
        "class Layer(Base):\n    b = r\n    def c(self): return late() + r",
        "class Base:\n    a = 1000",
        "def late(): return 1",
        "import functools\n@functools.lru_cache(maxsize=r)\ndef twice(x, by=s): return x * by",
        "double = lambda x: twice(x)",
        "def late(): return 2\nr, q = 16, 3",
        "def lora_linear(x): return double(x), Layer().a, Layer.b, Layer().c(), [q for _ in range(2)]",
        "lora_rank = lora_linear",
    )
    whole, part = {}, {}
    exec("\n".join(pages), whole)
    exec(drawn(tmp_path, *pages), part)
    assert part["lora_linear"](3) == whole["lora_linear"](3) == (120, 1, 8, 18, [3, 3])
    assert part["lora_rank"] is part["lora_linear"]


def test_decorators_one_liners_and_letters_of_several_bytes(tmp_path):
    text = drawn(
        tmp_path, 'é = "ü"; z = 1; import math\n\n@property\n@staticmethod\ndef lora_linear(x): return é, math'
    )
    assert text == (
        '# cell 1\né = "ü"\n\n\n# cell 1\nimport math\n\n\n# cell 1\n@property\n@staticmethod\n'
        "def lora_linear(x): return é, math\n"
    )


def test_magics_are_dropped(tmp_path):
    text = drawn(
        tmp_path,
        "%load_ext x\n!pip install y\nimport math\nmath?\nfiles = !ls\nif True:\n    %timeit 3",
        "%%time\ndef helper(x):\n    return math.pi",
        "x = (7\n% 3)\ndef lora_linear(x):\n    '''\n%not magic\n    '''\n    return helper(x)",
    )
    assert "import math" in text and "return math.pi" in text and "%not magic" in text


def test_a_cell_that_is_no_python_is_named(tmp_path):
    work = folder_of(
        tmp_path, {"work.ipynb": cells("def lora_rank(r):\n  return r", "def lora_linear(x)\n  return", "%%bash\nls")}
    )
    handed = read(work / "work.ipynb")
    assert b"lora_linear" not in handed.files["lora"].text
    assert "cell 2 of work.ipynb is not Python, with its lora_linear, and was left out" in handed.notes
    assert "cell 3 of work.ipynb is not Python and was left out" in handed.notes
    handed = read(folder_of(tmp_path, {"work.ipynb": cells("def lora_linear(x)\n")}) / "work.ipynb")
    assert "cell 1 of work.ipynb is not Python, with its lora_linear" in handed.reason


def test_what_a_call_computes_is_not_taken_and_told(tmp_path):
    work = cells("import torch\nscale = torch.ones(3)", "def lora_linear(x):\n    return x * scale")
    handed = read(folder_of(tmp_path, {"work.ipynb": work}) / "work.ipynb")
    assert b"ones" not in handed.files["lora"].text
    (note,) = handed.notes
    assert note.startswith("scale, which lora_linear may need, is computed in cell 1 of work.ipynb and was left out")


def test_star_imports_are_taken_where_a_name_is_missing(tmp_path):
    assert "import *" in drawn(tmp_path, "from math import *", "def lora_linear(x):\n    return sqrt(x)")
    assert "import *" not in drawn(tmp_path, "from math import *", "def lora_linear(x):\n    return abs(x)")


def test_future_annotations_stay_on_top(tmp_path):
    text = drawn(
        tmp_path, "import math", "from __future__ import annotations\ndef lora_linear(x: Nothing): return math"
    )
    assert text.startswith("from __future__ import annotations\n")
    exec(text, {})


def test_formats_and_sources(tmp_path):
    three = {
        "nbformat": 3,
        "worksheets": [{"cells": [{"cell_type": "code", "input": ["def lora_linear(x):\n", " return x"]}]}],
    }
    (tmp_path / "old.ipynb").write_text(json.dumps(three))
    assert read(tmp_path / "old.ipynb").files["lora"].text == b"# cell 1\ndef lora_linear(x):\n return x\n"
    odd = cells("def lora_linear(x):\r\n  return x", 3, None, {"cell_type": "code", "source": 3}, {"cell_type": "code"})
    (tmp_path / "odd.ipynb").write_bytes(b"\xef\xbb\xbf" + odd)
    assert read(tmp_path / "odd.ipynb").files["lora"].text.endswith(b"def lora_linear(x):\n  return x\n")


def test_imports_of_a_functions_name_are_no_work(tmp_path):
    handed = read(folder_of(tmp_path, {"a.ipynb": cells("from course import lora_linear\nlora_rank = 3")}) / "a.ipynb")
    assert not handed.files


@pytest.mark.parametrize(
    ("file", "counts"),
    [(STUB, "work.ipynb"), (LORA, "exercises/lora.py"), (b"def lora_linear(x): return 1\n", "exercises/lora.py")],
)
def test_a_python_file_counts_unless_more_is_written_in_the_notebook(tmp_path, file, counts):
    handed = read(
        folder_of(tmp_path, {"exercises/lora.py": file, "work.ipynb": cells("def lora_linear(x):\n  return x")})
    )
    assert handed.files["lora"].where == counts
    assert any(note.startswith(f"for lora, {counts} counts, and not ") for note in handed.notes)


def test_a_lessons_notebook_is_for_its_own_exercises(tmp_path):
    work = cells(LORA.decode(), KRONA.decode())
    assert set(read(folder_of(tmp_path, {"16_krona.ipynb": work}) / "16_krona.ipynb").files) == {"krona"}
    assert set(read(folder_of(tmp_path, {"mine.ipynb": work}) / "mine.ipynb").files) == {"krona", "lora"}


def test_hostile_notebooks(tmp_path):
    deep = "a" + ".b" * 50_000
    surrogate = 'def lora_rank(r):\n    return "\ud800"'
    handed = read(
        folder_of(tmp_path, {"a.ipynb": cells(deep, surrogate, "\0", "def lora_linear(x): return 1")}) / "a.ipynb"
    )
    assert handed.files["lora"].text == b"# cell 4\ndef lora_linear(x): return 1\n"
    handed = read(folder_of(tmp_path, {"a.ipynb": cells("x = 1\n" * 50_000)}) / "a.ipynb")
    assert "of code, the most that is read" in handed.reason
    pages = notebook.read(cells("\n".join(f"def f{i}(): return f{i + 1}()" for i in range(2000))), "x")
    text = notebook.drawn(pages, ["f0"], "x").text
    assert text.count(b"def ") == 2000


# -- a class ----------------------------------------------------------------------------------------------------------


def test_the_submissions_of_a_class(tmp_path):
    files = [
        "ada10.zip",
        "ada2.py",
        "Bob.IPYNB",
        "eve.tar.gz",
        "list.csv",
        ".hidden.py",
        "__MACOSX/x",
        "carl/lora.py",
        "README",
    ]
    folder_of(tmp_path, dict.fromkeys(files, b""))
    assert [p.name for p in submissions(tmp_path)] == ["ada2.py", "ada10.zip", "Bob.IPYNB", "carl", "eve.tar.gz"]


def test_names_are_distinct_and_safe(tmp_path):
    (tmp_path / "ada").mkdir()
    files = [
        "ada",
        "ada.zip",
        "Bob.zip",
        "bob.py",
        "CON.zip",
        "a:b?.zip",
        "x" * 250 + ".zip",
        "é" * 90 + ".py",
        ".. .zip",
        "nul.x.py",
    ]
    named = names([tmp_path / f for f in files])
    assert [p.name for p in named.values()] == files
    short = ["ada", "ada.zip", "Bob.zip", "bob.py", "_CON", "a_b_", "x" * 100, "é" * 50, "_", "_nul.x"]
    assert list(named) == short


def test_names_that_clash_get_numbers(tmp_path):
    paths = [tmp_path / a / "ada.zip" for a in "xyz"] + [tmp_path / "ADA.ZIP"]
    assert list(names(paths)) == ["ada.zip", "ada.zip-2", "ada.zip-3", "ADA.ZIP-4"]
