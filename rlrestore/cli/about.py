"""`rlrestore about`: what a report of a fault needs to say of the installation, and nothing of the user."""

import argparse
import hashlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator

from rlrestore import __version__
from rlrestore.cli import Subparsers
from rlrestore.cli.reporting import describe
from rlrestore.errors import RlrestoreError

DISTRIBUTIONS = ("rlrestore", "rlrestore-onnx")
"""By one of which the package is installed."""
DEVELOPERS = frozenset({"dev", "docs", "lint", "test"})
"""Extras whose libraries no command uses."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
VECTORS = ("amx", "avx", "neon", "sve")
"""How the flags begin that decide how fast a convolution is."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "about",
        help="list versions, devices and the model, for a report of a fault",
        description="List the versions of everything, the processor, the devices and the model, to be copied "
        "into a report of a fault. It names no photograph.",
    )
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")


def run(args: argparse.Namespace) -> int:
    """Print the report; what cannot be found out is said in its place."""
    for line in report_lines(args.model):
        print(line)
    return 0


def report_lines(model: str) -> Iterator[str]:
    """Yield the report, line by line."""
    yield f"rlrestore: {__version__}"
    yield f"python: {platform.python_version()} ({platform.python_implementation()})"
    yield f"system: {platform.platform()}"
    yield f"encodings: files {sys.getfilesystemencoding()}, stdout {getattr(sys.stdout, 'encoding', None)}"
    versions = [f"{name} {_version(name)}" for name in libraries()]
    yield f"libraries: {', '.join(versions) or 'not installed by pip'}"
    variables = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    yield f"environment: {', '.join(variables) or 'nothing set'}"
    yield from _devices()
    yield from _model(model)


def libraries() -> list[str]:
    """Return the names of what the package and its extras need; none of a checkout that is not installed."""
    required = next(filter(None, map(_required, DISTRIBUTIONS)), [])
    extras = [re.search(r"extra == .(\w+)", each) for each in required]
    users = [
        each for each, extra in zip(required, extras, strict=True) if not extra or extra[1] not in DEVELOPERS
    ]
    return [re.split(r"[^\w.-]", each)[0] for each in users]


def _required(distribution: str) -> list[str]:
    try:
        return importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _devices() -> Iterator[str]:
    """Yield what torch says of the machine, or why it says nothing."""
    try:
        import torch

        from rlrestore.devices import processor_flags
    except (ImportError, OSError) as error:  # a library that it needs is missing: OSError on Windows
        yield f"torch: cannot be loaded ({' '.join(str(error).split())})"
        return
    flags = sorted(name for name, there in processor_flags().items() if there is True)
    vectors = " ".join(name for name in flags if name.startswith(VECTORS)) or "no vectors that torch knows"
    yield f"torch: {torch.__version__}"
    yield f"processor: {os.cpu_count()} cores, {torch.get_num_threads()} threads, {vectors}"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield f"cuda: {torch.version.cuda or 'not in this build of torch'}, devices: {', '.join(names) or 'none'}"
    yield f"mps: {'there' if torch.backends.mps.is_available() else 'none'}"


def _model(model: str) -> Iterator[str]:
    """Yield the model's name and checksums, or what is wrong with it."""
    from rlrestore.model_folder import checksums, find_model, read_card
    from rlrestore.model_folder.exported import is_exported, read_exported

    try:
        folder = find_model(model)
        name = read_card(folder).name or folder.name
        if is_exported(folder):
            found = read_exported(folder)
            parts = zip((*found.names, "agent"), found.networks, strict=True)
            sums = {part: hashlib.sha256(network).hexdigest() for part, network in parts}
            name = f"{name}, exported to ONNX"
        else:
            sums = checksums(folder)
        yield f"model: {name}, sha256 {', '.join(f'{part} {digest}' for part, digest in sums.items())}"
    except RlrestoreError as error:
        yield f"model: {describe(error)}"
