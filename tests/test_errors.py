"""What errors say of how to go on."""

from email.message import Message
from importlib import metadata

import pytest

from rlrestore.errors import how_to_install


@pytest.mark.parametrize(
    ("extra", "how"),
    [
        ("serve", "pip install 'rlrestore-onnx[serve]'"),
        ("ray", "pip install -c constraints.txt '.[ray]' in the folder of rlrestore's source"),
        ("", "pip install -c constraints.txt . in the folder of rlrestore's source"),
    ],
)
def test_without_torch_its_own_extras_are_named(
    monkeypatch: pytest.MonkeyPatch, extra: str, how: str
) -> None:
    told = Message()
    for each in ("heic", "raw", "serve", "video"):
        told["Provides-Extra"] = each
    monkeypatch.setattr(metadata, "metadata", {"rlrestore-onnx": told}.__getitem__)
    assert how_to_install(extra) == how
