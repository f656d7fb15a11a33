"""The suite's own virtual environment and C programs, and what this machine has. Installs nothing into the package's environment."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

from candidates import COMPILED

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = HERE / ".build"
# One for each interpreter: two builds of one version may differ by half in speed.
ENV = HERE / ".env" / f"{sys.version_info.major}.{sys.version_info.minor}-{Path(sys.base_prefix).name}"
PYTHON = ENV / "bin" / "python"
# The package as `EVENTSOCK_COMPILE=1 pip install .` makes it.
COMPILED_HOME = BUILD / "compiled" / ENV.name


def requirements() -> list[str]:
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def enter() -> None:
    """Make the environment if it is missing or its requirements have changed, then go on in its interpreter."""
    stamp = ENV / "requirements.txt"
    wanted = "\n".join(requirements())
    if not stamp.exists() or stamp.read_text() != wanted:
        _install()
        stamp.write_text(wanted)
    if Path(sys.prefix) != ENV:
        os.execv(PYTHON, [str(PYTHON), *sys.argv])


def _install() -> None:
    print(f"making {ENV.relative_to(ROOT)}: {', '.join(requirements())}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENV)], check=True)
    for requirement in requirements():
        command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        if subprocess.run(command, capture_output=True).returncode:
            print(f"  {requirement}: cannot be installed here, and will be skipped")


def build() -> bool:
    """Compile the C programs that are older than their source. False, with a word, where there is no compiler."""
    BUILD.mkdir(exist_ok=True)
    compiler = shutil.which("gcc") or shutil.which("cc")
    for source in sorted((HERE / "c").glob("*.c")):
        program = BUILD / source.stem
        if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
            continue
        if compiler is None:
            print("no C compiler: the network workloads need one and are skipped")
            return False
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)
    return True


def compile_package() -> None:
    """Make the compiled build if it is older than its source; with a word where it cannot be made, and then it is skipped."""
    stamp = COMPILED_HOME / "made"
    sources = [ROOT / "setup.py", *(ROOT / "eventsock").rglob("*.py")]
    if stamp.exists() and stamp.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    print("compiling eventsock with mypyc", flush=True)
    shutil.rmtree(COMPILED_HOME, ignore_errors=True)
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(COMPILED_HOME), str(ROOT)]
    done = subprocess.run(command, env=os.environ | {"EVENTSOCK_COMPILE": "1"}, capture_output=True, text=True)
    if done.returncode:
        print(f"  cannot be compiled here, and will be skipped: {(done.stderr.strip().splitlines() or [''])[-1]}")
        shutil.rmtree(COMPILED_HOME, ignore_errors=True)
    else:
        stamp.touch()


def variables(library: str = "") -> dict[str, str]:
    """The environment variables of a candidate: the package importable, compiled files kept out of the tree, nothing else of Python's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    home = COMPILED_HOME if library == COMPILED else ROOT
    return kept | {"PYTHONPATH": str(home), "PYTHONPYCACHEPREFIX": str(BUILD / "pycache")}


def has_library(name: str) -> bool:
    if name == COMPILED:
        return (COMPILED_HOME / "made").exists()
    return not name or (ROOT / name).is_dir() or util.find_spec(name) is not None


def tool(name: str) -> str | None:
    return shutil.which(name)


def version(name: str) -> str:
    if name == "eventsock":
        return _run("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "of this tree"
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def description() -> dict[str, str]:
    """The machine and the versions, for the head of the report."""
    peers = [name for name in requirements() if name != "matplotlib"]
    return {
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gb()} GB",
        "System": f"{platform.system()} {platform.release()}, {platform.libc_ver()[0]} {platform.libc_ver()[1]}",
        "Python": f"{platform.python_version()} of {sys.base_prefix} ({platform.python_compiler()})",
        "Versions": ", ".join(f"{name} {version(name)}" for name in ["eventsock", *peers]),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
