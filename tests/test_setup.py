"""The set-up: what an import costs, what is pinned, what a wheel holds, how `make` behaves on its first run."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from minipeft.catalog import CATALOG

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))


def python(*args: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=120, **options)


# -- import -----------------------------------------------------------------------------------------------------------

IMPORT = """
import sys
import torch, numpy, einops, safetensors.torch, torch.nn.utils.parametrize
from time import process_time
before, began = set(sys.modules), process_time()
import minipeft
names = [name for name in dir(minipeft) if getattr(minipeft, name) is not None]
seconds = process_time() - began
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(seconds, *sorted(new - set(sys.stdlib_module_names) - {"torch", "numpy", "einops", "safetensors"}))
print(*names)
"""


def test_all_public_names_need_four_packages_and_little_time():
    done = python("-c", IMPORT, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    cost, names = done.stdout.splitlines()
    seconds, *loaded = cost.split()
    assert loaded == ["minipeft"]
    assert float(seconds) < 0.3
    assert {"GPT", "LoRA", "fit", "counts", "save", "load", "merge"} <= set(names.split())


def test_the_package_alone_does_not_wait_for_torch():
    assert python("-c", "import sys, minipeft; sys.exit('torch' in sys.modules)", cwd=ROOT).returncode == 0


def test_unknown_names_are_attribute_errors():
    import minipeft

    for name in ("nothing", "Nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(minipeft, name)


# -- versions ---------------------------------------------------------------------------------------------------------


def needed() -> dict[str, list[Requirement]]:
    """All packages that a full set-up installs on this machine, with what is asked of each."""
    asked: dict[str, list[Requirement]] = {}
    queue = [Requirement(text) for text in PROJECT["dependencies"]]
    queue += [Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra]
    seen = set()
    while queue:
        need = queue.pop()
        name = canonicalize_name(need.name)
        if str(need) in seen or name == "minipeft":
            continue
        seen.add(str(need))
        asked.setdefault(name, []).append(need)
        try:
            below = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed: run `make quick`, which sets up what the tests need")
        for extra in ("", *need.extras):
            here = default_environment() | {"extra": extra}
            queue += [b for b in below if b.marker is None or b.marker.evaluate(here)]
    return asked


def test_constraints_pin_everything_within_the_ranges():
    asked = needed()
    for name, needs in asked.items():
        if name.startswith(("nvidia-", "cuda-", "triton")):
            continue  # torch's CUDA build pins its own
        assert name in PINS, f"{name} is needed but not pinned in constraints.txt"
        for need in needs:
            assert need.specifier.contains(PINS[name], prereleases=True), f"{need} excludes the pin {PINS[name]}"
    elsewhere = {"appnope", "colorama", "pywinpty"}  # macOS and Windows
    assert set(PINS) - set(asked) <= elsewhere, "pinned, but nothing needs it"


def test_no_pin_names_a_build_of_torch():
    assert "+" not in PINS["torch"]


# -- the wheel --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package as it is installed from a plain wheel: unpacked in a folder, far from any course."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("minipeft", "lessons", "exercises"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    built = python("-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=source)
    assert built.returncode == 0, built.stderr
    (file,) = out.glob("*.whl")
    zipfile.ZipFile(file).extractall(out / "site")
    return out / "site"


def test_a_wheel_holds_the_package_and_its_models_only(wheel):
    tops = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"minipeft"}
    files = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    kept = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "minipeft").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kept <= files
    for name in ("mini-gpt2", "mini-llama"):
        assert f"minipeft/models/{name}/model.safetensors" in files
    (points,) = wheel.glob("*.dist-info/entry_points.txt")
    assert "minipeft = minipeft.cli:main" in points.read_text()


def installed(wheel: Path, tmp_path: Path, *args: str) -> subprocess.CompletedProcess:
    """`minipeft ARGS` as the wheel's owner runs it: -S -E keep this checkout out of sight, not its dependencies."""
    run = f"""
import sys
sys.path[1:1] = [{str(wheel)!r}]
sys.path += {[p for p in sys.path if p.endswith("site-packages")]!r}
from minipeft.cli import main
sys.exit(main({list(args)!r}))
"""
    return python("-S", "-E", "-c", run, cwd=tmp_path)


def test_a_wheel_gives_a_working_command(wheel, tmp_path):
    done = installed(wheel, tmp_path, "generate", "--model", "mini-gpt2", "--prompt", "the", "--max", "3")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 1


def test_a_wheel_without_a_course_says_so_in_one_sentence(wheel, tmp_path):
    done = installed(wheel, tmp_path, "check", "15.1")
    assert done.returncode == 2
    assert "no course here" in done.stderr and done.stderr.count("\n") == 1


# -- make -------------------------------------------------------------------------------------------------------------

STUB = """#!/bin/sh
# stands for a Python that makes environments: `-m venv .venv` copies it into one, `-m pip install` works if asked to
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"pip install"*) echo installing; exit ${BROKEN:-0} ;;
esac
"""


@pytest.mark.skipif(not shutil.which("make"), reason="no make on this machine")
class TestMake:
    @pytest.fixture
    def make(self, tmp_path):
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, tmp_path)
        stub = tmp_path / "stub"
        stub.write_text(STUB)
        stub.chmod(0o755)

        def make(*settings: str) -> subprocess.CompletedProcess:
            command = ["make", ".venv/ready", f"PYTHON={stub}", *settings]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

        make.venv = tmp_path / ".venv"
        return make

    def test_a_second_run_does_nothing(self, make):
        assert "installing" in make().stdout
        assert "installing" not in make().stdout

    def test_new_requirements_are_installed_into_the_same_environment(self, make):
        make()
        (make.venv / "kept").touch()
        later = (make.venv / "ready").stat().st_mtime + 2  # a clock may not have ticked since
        os.utime(make.venv.parent / "constraints.txt", (later, later))
        assert "installing" in make().stdout and (make.venv / "kept").exists()

    def test_an_installation_broken_off_is_not_taken_for_a_finished_one(self, make):
        broken = make("BROKEN=1")  # make hands its settings to what it runs
        assert broken.returncode and not (make.venv / "ready").exists()
        (make.venv / "half a package").touch()
        again = make()
        assert again.returncode == 0 and "starting afresh" in again.stdout
        assert (make.venv / "ready").exists() and not (make.venv / "half a package").exists()

    def test_another_python_is_refused_with_a_sentence(self, make):
        old = make("PYTHON=false")
        assert old.returncode and "minipeft needs Python 3.11, 3.12 or 3.13" in old.stderr and not make.venv.exists()


# -- the README -------------------------------------------------------------------------------------------------------


def test_the_tree_in_the_readme_is_the_repository():
    tree = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[-1]
    shown, above = set(), []
    for spaces, name in re.findall(r"^( *)(\S+)", tree, re.M):
        above[len(spaces) // 2 :] = [name]
        shown.add(Path(*above))
    assert {path for path in shown if not (ROOT / path).exists()} == set(), "in the README, not in the repository"
    files = [p for p in (ROOT / "minipeft").glob("**/*.py") if not p.name.startswith("_")]
    parts = {Path("minipeft", p.relative_to(ROOT / "minipeft").parts[0]) for p in files}
    assert parts - shown == set(), "in the package, not in the README"


def test_readme_shows_every_method():
    """A line for each row of the catalog: lesson, file, name, family, what trains, paper."""
    lines = (ROOT / "README.md").read_text().splitlines()
    for row in CATALOG:
        file, number = row.method.__module__.replace(".", "/") + ".py", row.paper.removeprefix("arXiv ")
        lesson = f"[{row.lesson:02}](lessons/{row.lesson:02}_{Path(file).stem}.ipynb)"
        names = f"| {lesson} | [{row.method.__name__}]({file}) | `{row.name}` | {row.family} | {row.about} |"
        assert f"{names} [{number}](https://arxiv.org/abs/{number}) |" in lines
        assert (ROOT / file).is_file()


PAGES = ["README.md", "CONTRIBUTING.md"]
PAGES += sorted(str(p.relative_to(ROOT)) for kind in ("docs/**/*.md", "lessons/*.ipynb") for p in ROOT.glob(kind))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Each link to a file of ours, and each heading that a link names in its own page."""
    text = (ROOT / page).read_text()
    if page.endswith(".ipynb"):
        text = "\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
    heads = {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        file, _, head = link.partition("#")
        assert not file or ((ROOT / page).parent / file).exists(), f"{page}: {link} leads nowhere"
        assert file or head in heads, f"{page}: no heading for {link}"


def test_glossary_names_lessons_that_say_so():
    """Its terms are in order, and each one occurs in the lesson that it is said to be explained in."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| \[\d\d\]\(\.\./lessons/(\w+)\.ipynb\) \|$", text, re.M)
    terms = [term.lower() for term, _ in rows]
    assert len(rows) == text.count("\n| ") - 1 and terms == sorted(terms)
    for term, lesson in rows:
        source = (ROOT / "lessons" / "src" / f"{lesson}.py").read_text(encoding="utf-8")
        assert term.lower() in re.sub(r"\s*\n#?\s*", " ", source).lower(), f"{lesson} does not speak of {term}"
