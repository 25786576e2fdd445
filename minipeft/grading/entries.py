"""The files of a folder or an archive: their names, and how to read them, in memory and within limits.

    folder(path)        walks it; symbolic links are not followed, pipes and devices are not opened
    zipped(data)        the members of a ZIP
    tarred(data)        the members of a tar, also of one that is compressed by gzip

Each gives `(entries, notes)`.  Nothing is ever written to disk: names only choose among the members, so that a name
such as ../../x can do no harm; it is left out all the same, and a note says so.  What is wrong with the whole raises
Refused.
"""

import gzip
import io
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MEMBERS = 2_000  # files in a folder or an archive
DEPTH = 16  # folders above a file
TOTAL = 100 * 2**20  # bytes of an archive, and of everything that is read from it
RATIO = 200  # unpacked to packed, of a member over 1 MB

# never a learner's work: what systems, editors and tools leave behind
SKIPPED = {"__macosx", "__pycache__", "node_modules", "site-packages", "venv"}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # the last ones: bytes of a name that are not UTF-8
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError, OverflowError)


class Refused(ValueError):
    """The message is a sentence for the learner: what can't be read, and why."""


@dataclass(frozen=True)
class Entry:
    """One file.  `read(limit)` gives its bytes, or raises Refused: it is larger, damaged, or no regular file."""

    name: str  # relative, "/" between its parts
    read: Callable[[int], bytes]

    @property
    def parts(self) -> list[str]:
        return self.name.split("/")


Listing = tuple[list[Entry], list[str]]


def shown(name: str) -> str:
    """A name that can stand in a sentence: printable, and not over-long."""
    clean = "".join(c if c.isprintable() else "?" for c in name)
    return clean if len(clean) <= 100 else f"{clean[:60]}...{clean[-37:]}"


def listed(names: list[str], most: int = 3) -> str:
    """ "a, b, c and 4 more"."""
    first, more = [shown(n) for n in names[:most]], len(names) - most
    if more > 0:
        return f"{', '.join(first)} and {more} more"
    return " and ".join(filter(None, [", ".join(first[:-1]), first[-1]]))


def size(n: int) -> str:
    return f"{n / 2**20:.3g} MB" if n >= 2**20 else f"{n / 2**10:.3g} kB"


def skipped(part: str) -> bool:
    """Is this file or folder passed over without a word?"""
    return part.startswith(".") or part.casefold() in SKIPPED


def within(data: bytes, limit: int, name: str) -> bytes:
    if len(data) > limit:
        raise Refused(f"{shown(name)} is larger than {size(limit)}, the most that is read")
    return data


# -- a file, a folder -------------------------------------------------------------------------------------------------


def read_file(path: Path, limit: int, name: str) -> bytes:
    """A regular file's bytes.  A link, a pipe or a device is refused, and never waited for.

    Raises Refused.
    """
    flags = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
    try:
        handle = os.open(path, flags)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Refused(f"{shown(name)} is not a regular file")
            with open(handle, "rb", closefd=False) as f:
                return within(f.read(limit + 1), limit, name)
        finally:
            os.close(handle)
    except OSError as e:
        raise Refused(f"{shown(name)} can't be read: {e.strerror or e}") from None


def folder(path: Path) -> Listing:
    entries, notes, waiting = [], [], [(path, "")]
    while waiting:
        here, prefix = waiting.pop()
        try:
            found = sorted(os.scandir(here), key=lambda item: item.name)
        except OSError as e:
            notes.append(f"{shown(prefix) or 'the folder'} can't be opened: {e.strerror or e}")
            continue
        for item in found:
            name = prefix + item.name
            if skipped(item.name):
                continue
            if fault := name_fault(name):
                notes.append(f"{shown(name)} was not looked at: {fault}")
            elif item.is_symlink():
                notes.append(f"{shown(name)} was not looked at: it is a link, and links are not followed")
            elif item.is_dir(follow_symlinks=False):
                waiting.append((Path(item.path), name + "/"))
            elif not item.is_file(follow_symlinks=False):
                notes.append(f"{shown(name)} was not looked at: it is not a regular file")
            else:
                entries.append(Entry(name, lambda limit, at=Path(item.path), name=name: read_file(at, limit, name)))
        enough(len(entries) + len(waiting))
    return entries, notes


# -- archives ---------------------------------------------------------------------------------------------------------


def name_fault(name: str) -> str | None:
    """Why a file of this name is left alone."""
    parts = name.split("/")
    if CONTROL.search(name):
        return "its name holds control characters, or is not UTF-8"
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts:
        return "its name leads out of what was handed in"
    if len(parts) > DEPTH:
        return f"it lies more than {DEPTH} folders deep"
    return None


def enough(count: int) -> None:
    if count > MEMBERS:
        raise Refused(f"it holds more than {MEMBERS:,} files: hand in the exercises alone")


def zipped(data: bytes) -> Listing:
    """The members of a ZIP.  Its directory has to be whole, and no two members may share bytes, as in a zip bomb."""
    enough(data.count(b"PK\x01\x02"))  # members, counted before an object is made for each
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except UnicodeDecodeError:
        raise Refused("a name in the archive is not UTF-8, though it says so: zip the files anew") from None
    except DAMAGED as e:
        raise Refused(f"the archive is damaged or no ZIP: {shown(str(e))}") from None
    members = sorted(archive.infolist(), key=lambda info: info.header_offset)
    enough(len(members))
    starts = [info.header_offset for info in members] + [archive.start_dir]
    for info, after in zip(members, starts[1:], strict=True):
        if info.header_offset + zipfile.sizeFileHeader + info.compress_size > after:
            raise Refused("files in the archive overlap, as in a zip bomb: zip the files anew")
    entries, notes = [], []
    for info in members:
        if info.orig_filename.endswith(("/", "\\")):  # a folder
            continue
        name = zip_name(info)
        if fault := name_fault(name) or zip_fault(info):
            notes.append(f"{shown(name)} was not looked at: {fault}")
        else:
            entries.append(Entry(name, lambda limit, info=info, name=name: unzip(archive, info, limit, name)))
    return entries, notes


def zip_name(info: zipfile.ZipInfo) -> str:
    """As it was meant: many write UTF-8 and don't say so, and some on Windows write backslashes between the parts."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            pass
    return tidy(name.replace("\\", "/"))


def tidy(name: str) -> str:
    """./a//b as a/b."""
    return "/" * name.startswith("/") + "/".join(part for part in name.split("/") if part not in ("", "."))


def zip_fault(info: zipfile.ZipInfo) -> str | None:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "it is a link, or no regular file"
    if info.flag_bits & 1:
        return "it is encrypted: zip the files without a password"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is packed in an unusual way: zip the files with what the system has for it"
    if info.file_size > 2**20 and info.file_size > RATIO * info.compress_size:
        return f"it would unpack to more than {RATIO} times its size, as in a zip bomb"
    return None


def unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int, name: str) -> bytes:
    try:
        with archive.open(info) as f:
            return within(f.read(limit + 1), limit, name)
    except Refused:
        raise
    except DAMAGED as e:
        raise Refused(f"{shown(name)} is damaged: {shown(str(e))}") from None


def tarred(data: bytes) -> Listing:
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(TOTAL + 1)
        except DAMAGED as e:
            raise Refused(f"the archive is damaged: {shown(str(e))}") from None
        if len(data) > TOTAL:
            raise Refused(f"the archive would unpack to more than {size(TOTAL)}: hand in the exercises alone")
    entries, notes = [], []
    for count, (name, info, start) in enumerate(tar_members(data), 1):
        enough(count)
        if info.isdir():
            continue
        if fault := name_fault(name) or (None if info.isreg() and not info.issparse() else "it is no regular file"):
            notes.append(f"{shown(name)} was not looked at: {fault}")
        else:
            content = memoryview(data)[start : start + info.size]
            entries.append(Entry(name, lambda limit, x=content, name=name: within(bytes(x[: limit + 1]), limit, name)))
    return entries, notes


def tar_members(data: bytes) -> Iterator[tuple[str, tarfile.TarInfo, int]]:
    """(name, header, where its bytes start) of each member.

    Not by tarfile.TarFile: its reading of pax headers takes quadratic time on hostile ones, in some versions for ever.
    Of these headers only a long name is wanted here.
    """
    at, long_name = 0, None
    while at < len(data) and (header := data[at : at + tarfile.BLOCKSIZE]).strip(b"\0"):
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as e:
            raise Refused(f"the archive is damaged or no tar: {shown(str(e))}") from None
        start = at + tarfile.BLOCKSIZE
        if not 0 <= info.size <= len(data) - start:
            raise Refused("the archive is damaged: it ends in the middle of a file")
        at = start + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        content = data[start : min(start + info.size, start + 2**16)]
        if info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = content.split(b"\0")[0]
        elif info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            records = (line.partition(b" path=") for line in content.split(b"\n"))
            long_name = next((name for length, found, name in records if found and length.isdigit()), long_name)
        elif info.type not in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            yield tidy(long_name.decode("utf-8", "surrogateescape") if long_name else info.name), info, start
            long_name = None
