"""Finding out, without a GPU, where a program would wait for one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from rlrestore.imaging.degradation import batches

READS = {"tolist", "item", "numpy", "cpu", "to", "cuda", "__array__"}
READS |= {"__bool__", "__int__", "__float__", "__index__", "__contains__"}
"""Methods of a tensor that bring its numbers to the host, or may."""
UPLOADS = {"tensor", "as_tensor", "from_numpy", "asarray"}
"""Functions that send numbers of the host to the device, and wait until they are there."""
SIZED_BY_VALUES = {
    "_local_scalar_dense",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_dim",
    "_unique2",
}
"""Operators that on a GPU wait: what they give, or its shape, is needed on the host."""


class Waits:
    """Notes every place where a program would wait for a GPU, or for numbers on their way there.

    Python sees what is called on a tensor; the operators below are seen where torch dispatches them. What
    does less on a processor, where to count costs nothing, runs as on a GPU meanwhile.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self._modes = ExitStack()

    def __enter__(self) -> "Waits":
        self._modes.enter_context(mock.patch.object(batches, "waits_to_count", return_value=True))
        self._modes.enter_context(_Calls(self.found))
        self._modes.enter_context(_Operators(self.found))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.__exit__(*error)


class _Calls(TorchFunctionMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        dtype_alone = (
            name == "to" and all(isinstance(value, torch.dtype) for value in args[1:]) and not kwargs
        )
        if name in READS | UPLOADS and not dtype_alone:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class _Operators(TorchDispatchMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no annotation there
        self.found = found

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        packet = func.overloadpacket.__name__
        by_mask = packet in {"index", "index_put", "index_put_"} and any(
            index is not None and index.dtype in {torch.bool, torch.uint8} for index in args[1]
        )
        # torch.multinomial checks its weights on the host unless it draws several numbers with replacement.
        checked = packet == "multinomial" and (args[1] == 1 or not [*args, False][2])
        if packet in SIZED_BY_VALUES or by_mask or checked:
            self.found.append(packet)
        return func(*args, **(kwargs or {}))
