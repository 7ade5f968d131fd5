"""Measure a fresh environment with torch and one without: its size, and the time to the first picture.

    python scripts/build_onnx_wheel.py --out dist/
    python scripts/bench_environments.py --wheel dist/rlrestore_onnx-*.whl --image examples/street.jpg

Both are made by pip with the versions of `constraints.txt`. The command `rlrestore restore IMG` then runs in
each in turn, a process every time, and the shortest time of each counts. With `--folder` the environments
stay, and a second call measures them again. Times are only good on an idle machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.errors import RlrestoreError

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, required=True, metavar="FILE", help="of rlrestore-onnx")
    parser.add_argument("--image", type=Path, required=True, metavar="IMG", help="the picture")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the environments are made and stay")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="(default: 5)")
    return run_script(parser, measure)


def measure(args: argparse.Namespace) -> None:
    """Make both environments, measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = (args.folder or Path(folder)).resolve()
        programs = {
            "rlrestore": install(place / "torch", ROOT),
            "rlrestore-onnx": install(place / "onnx", args.wheel.resolve()),
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, program in programs.items():
                started = time.perf_counter()
                call(program / "rlrestore", "restore", args.image.resolve(), "-o", Path(folder) / "out.png")
                seconds[name].append(time.perf_counter() - started)
        print("| installed | MB on disk | to the first picture, s |")
        print("|---|---|---|")
        for name, program in programs.items():
            print(f"| {name} | {megabytes(program.parent):.0f} | {min(seconds[name]):.2f} |")


def install(folder: Path, what: Path) -> Path:
    """Make an environment of a distribution, if it is not there; return the folder of its programs."""
    if (folder / "bin" / "rlrestore").exists():
        return folder / "bin"
    venv.create(folder, with_pip=True)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    call(*pip, "-c", ROOT / "constraints.txt", what)
    call(folder / "bin" / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools", "pip")
    return folder / "bin"


def call(*command: str | Path) -> None:
    """Run a command that sees nothing of this tree.

    Raises:
        RlrestoreError: It fails.
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = list(map(str, command))
    done = subprocess.run(arguments, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RlrestoreError(f"{command[0]} failed: {done.stdout}{done.stderr}")


def megabytes(folder: Path) -> float:
    """Return what the files of a folder take, in millions of bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if not path.is_symlink()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
