"""Where it is computed and in which precision, whatever this machine's processor can do."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from rlrestore.cli.arguments import on_ranks
from rlrestore.devices import multiplies_bfloat16, precision_name, resolve_device, training_precision
from rlrestore.errors import UsageError

CPU = torch.device("cpu")
PROCESSORS: list[tuple[dict[str, object], bool]] = [
    ({"avx2": True, "avx512_f": True, "avx512_bf16": True, "amx_tile": True, "amx_bf16": True}, True),
    ({"avx2": True, "avx512_f": True, "avx512_bf16": True, "amx_tile": False, "amx_bf16": False}, True),
    ({"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_tile": False, "amx_bf16": False}, False),
    ({"architecture": "aarch64"}, False),
    ({}, False),
]
"""Flags of a processor with AMX, of one with AVX-512 BF16 alone, of one with AVX2, and of others."""


@pytest.mark.parametrize(("flags", "pays"), PROCESSORS)
def test_a_processor_trains_in_what_it_multiplies(
    flags: dict[str, object], pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert multiplies_bfloat16(flags) is pays
    assert training_precision(CPU) == (torch.bfloat16 if pays else torch.float32)


def test_a_torch_that_tells_no_flags_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert training_precision(CPU) == torch.float32


def test_other_devices_do_not_ask_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: PROCESSORS[0][0], raising=False)
    assert training_precision(torch.device("mps")) == torch.float32
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, native=native, **_: native)
        assert training_precision(torch.device("cuda")) == (torch.bfloat16 if native else torch.float32)


def test_a_precision_has_a_name() -> None:
    assert [precision_name(each) for each in (torch.float32, torch.bfloat16)] == ["float32", "bfloat16"]


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "meta", ""])
def test_an_unavailable_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not available: expected one of cpu"):
        resolve_device(name)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the C library of Linux")
def test_memory_that_was_freed_is_not_cleared_again() -> None:
    """Twenty times eight megabytes: 40,960 pages if the system hands them out anew, 2,048 if it does once."""
    program = """
import resource, numpy
from rlrestore.devices import keep_freed_memory
keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(20):
    numpy.ones(2**20)
print(faults() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 5000


def test_the_commands_that_train_alone_keep_freed_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a setting of the whole process, which a program that calls the library may not want."""
    calls: list[bool] = []
    monkeypatch.setattr("rlrestore.devices.keep_freed_memory", lambda: calls.append(True))
    assert on_ranks(lambda _: 7)(Namespace(device="cpu")) == 7
    assert calls == [True]
    folders = ("rlrestore", "toolbox", "envs", "agent")
    sources = [path for folder in folders for path in (root / folder).rglob("*.py")]
    users = {path.name for path in sources if "keep_freed_memory()" in path.read_text("utf-8")}
    assert users == {"arguments.py", "devices.py"}
