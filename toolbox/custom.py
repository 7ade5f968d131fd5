"""Custom tools beside the twelve: any module that maps an image to one of its size, or an ONNX file.

The agent learns to choose them like any other; joint training leaves them as they are. `docs/custom-tools.md`
shows both kinds.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlrestore.errors import UsageError
from rlrestore.imaging.tiling import ALIGN
from rlrestore.toolbox.sessions import open_session
from rlrestore.toolbox.specs import ANY_MIXTURE, LARGEST_RADIUS, ToolSpec, check_name
from rlrestore.toolbox.toolbox import Toolbox

ENTRY_POINTS = "rlrestore.tools"
"""The group of entry points by which an installed package makes its kinds of network known."""
ONNX = "onnx"
TOLERANCE = 1e-3
"""By how much a tool may differ from itself, a quarter of a level of 255."""
PROBES = ((1, 8, 8), (2, 63, 63), (1, 31, 50))
"""Images on which a tool is tried: how many, and their height and width."""

KINDS: dict[str, Callable[[], nn.Module]] = {}


def register(kind: str, make: Callable[[], nn.Module]) -> None:
    """Make a kind of network known, so that models with such a tool can be read.

    A package that is installed does the same by an entry point `kind = "module:Class"` in the
    group `rlrestore.tools`. Nothing that a model folder says is ever imported.

    Args:
        kind: What cards call it.
        make: Makes a network of this kind, untrained, without arguments.

    Raises:
        UsageError: `onnx` is taken, and so is the empty name.
    """
    if kind in ("", ONNX):
        raise UsageError(f"expected a kind of network that is neither empty nor {ONNX!r}, got {kind!r}")
    KINDS[kind] = make


class OnnxTool(nn.Module):
    """A network in an ONNX file, run by onnxruntime on the processor; nothing flows back through it.

    The file itself is the one tensor of this module, so that it is stored among the weights.
    """

    model: Tensor

    def __init__(self, model: bytes) -> None:
        """Read a file's content.

        Raises:
            UsageError: onnxruntime is not installed, or this is no network of one image in and one out.
        """
        super().__init__()
        session = open_session(model, torch.get_num_threads(), "a custom tool in ONNX")
        if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
            raise UsageError("expected a network in ONNX of one input and one output")
        self.register_buffer("model", torch.frombuffer(bytearray(model), dtype=torch.uint8))
        self._session, self._input = session, session.get_inputs()[0].name

    def forward(self, images: Tensor) -> Tensor:
        """Map `(B, 3, H, W)` to the same shape."""
        given = images.detach().float().cpu().contiguous().numpy()
        (restored,) = self._session.run(None, {self._input: given})
        return torch.from_numpy(restored).to(images.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxTool":
        return OnnxTool(self.model.cpu().numpy().tobytes())


def custom_spec(name: str, kind: str, radius: int) -> ToolSpec:
    """Describe a custom tool, for whatever degradation.

    Args:
        name: What people call it, see `check_name`.
        kind: Of its network, registered or `onnx`.
        radius: Its receptive field, in pixels to each side.

    Raises:
        UsageError: The name or the radius cannot be.
    """
    check_name(name)
    if not 0 <= radius <= LARGEST_RADIUS:
        raise UsageError(f"expected a radius from 0 to {LARGEST_RADIUS} pixels, got {radius}")
    return ToolSpec(name, "mixture", *ANY_MIXTURE, custom=kind, radius=radius)


def build(spec: ToolSpec, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Make the network of a custom tool, whose weights are still to be read.

    Args:
        spec: The tool; its `custom` says of which kind.
        tensors: Its weights, by their names in its module.

    Raises:
        UsageError: The kind is not known here, or the ONNX file cannot be used.
    """
    if spec.custom == ONNX:
        model = tensors.get("model")
        if model is None or model.dtype != torch.uint8:
            raise UsageError(f"expected an ONNX file among the weights of {spec.name}")
        return OnnxTool(model.cpu().numpy().tobytes())
    try:
        if spec.custom not in KINDS:
            for point in entry_points(group=ENTRY_POINTS, name=spec.custom):
                KINDS[spec.custom] = point.load()
        made = KINDS[spec.custom]() if spec.custom in KINDS else None
    except Exception as error:  # foreign code: any exception
        raise UsageError(f"the kind of network {spec.custom!r} cannot be made: {error}") from error
    if made is None:
        raise UsageError(
            f"the tool {spec.name} is a network of kind {spec.custom!r}, which is not known here: install "
            "the package that brings it, or call rlrestore.toolbox.custom.register before"
        )
    return made


def add_tool(toolbox: Toolbox, spec: ToolSpec, network: nn.Module | None = None) -> Toolbox:
    """Return a toolbox with one tool more, after making sure that it is one.

    Args:
        toolbox: The others.
        spec: The new tool: `custom` names its kind, a registered one or `onnx`, and `radius` is its
            receptive field in pixels to each side.
        network: Its network, which is copied; one made by the registered kind without it.

    Raises:
        UsageError: The name is taken, the kind is not known, or the network breaks the contract of a tool
            (`check_contract`).
    """
    if spec.name in toolbox.names:
        raise UsageError(f"expected a new name for a tool, the toolbox has {spec.name} already")
    if not spec.custom:
        raise UsageError(f"expected the kind of network of {spec.name}, registered or {ONNX!r}, got none")
    made = build(spec, {}) if network is None else copy.deepcopy(network)
    if not isinstance(made, nn.Module):
        raise UsageError(f"expected a torch.nn.Module for {spec.name}, got {type(made).__name__}")
    check_contract(made.to(toolbox.device).eval().requires_grad_(False), spec)
    return Toolbox((*toolbox.specs, spec), toolbox.family, (*toolbox.networks, made), toolbox.widths)


def add_onnx_tool(toolbox: Toolbox, spec: ToolSpec, path: Path) -> Toolbox:
    """Return a toolbox with a tool from an ONNX file more; see `add_tool`.

    Args:
        toolbox: The others.
        spec: The new tool; its kind is `onnx`, whatever it says.
        path: A network that maps float32 `(B, 3, H, W)` to the same shape, all in one file.

    Raises:
        UsageError: The file cannot be read, or is no tool.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror})") from error
    return add_tool(toolbox, replace(spec, custom=ONNX), OnnxTool(content))


@torch.no_grad()
def check_contract(network: nn.Module, spec: ToolSpec) -> None:
    """Make sure that a network can be a tool.

    It maps float32 `(B, 3, H, W)` of any size from 8×8, a little outside of [0, 1] too, to finite float32 of
    the same shape, and leaves its input as it is; gives the same result for the same image, alone or among
    others; and its receptive field is within the radius that it claims, wherever an image is cut out at a
    multiple of 4 pixels, for photographs are restored in tiles.

    Raises:
        UsageError: It does not.
    """
    generator = torch.Generator().manual_seed(0)
    weights = (*network.parameters(), *network.buffers())
    device = weights[0].device if weights else torch.device("cpu")

    def draw(count: int, height: int, width: int) -> Tensor:
        return (torch.rand(count, 3, height, width, generator=generator) * 1.4 - 0.2).to(device)

    def same(one: Tensor, other: Tensor, what: str) -> None:
        apart = float((one - other).abs().max())
        if apart > TOLERANCE:
            raise UsageError(f"{spec.name}: expected the same result {what}, got one {apart:.3g} apart")

    apply = partial(_apply, network, spec.name)
    for shape in PROBES:
        images = draw(*shape)
        restored = apply(images)
        same(restored, apply(images), "every time")
        same(restored[:1], apply(images[:1]), "of an image alone as among others")
    margin = ALIGN * (-(-spec.radius // ALIGN))
    begin = margin + 2 * LARGEST_RADIUS  # of the middle: beyond the receptive field of any tool
    wide, other = (draw(1, 2 * begin + 28, 2 * begin + 28) for _ in range(2))
    whole = apply(wide)
    for shift in (0, ALIGN, 3 * ALIGN):  # a network that folds blocks of 8 or 16 pixels shows in one of them
        middle = slice(begin + shift, begin + shift + 16)
        near = slice(middle.start - spec.radius, middle.stop + spec.radius)
        cut = slice(middle.start - margin, middle.stop + margin)
        elsewhere = other.clone()
        elsewhere[..., near, near] = wide[..., near, near]
        tile = apply(elsewhere[..., cut, cut].contiguous())[..., margin : margin + 16, margin : margin + 16]
        farther = f"whatever is farther than its radius of {spec.radius} pixels, and wherever it is cut out"
        same(whole[..., middle, middle], tile, farther)


def _apply(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """Apply a network that may be no tool.

    Raises:
        UsageError: It fails, changes its input, or returns something else than finite images of that size.
    """
    before = images.clone()
    try:
        restored: Any = network(images)
    except Exception as error:  # a foreign network: any exception
        raise UsageError(
            f"{name}: expected a network that takes {tuple(images.shape)}, but it fails: {error}"
        ) from error
    if not isinstance(restored, Tensor):
        raise UsageError(f"{name}: expected a network that returns a tensor, got {type(restored).__name__}")
    if restored.shape != images.shape or restored.dtype != images.dtype:
        raise UsageError(
            f"{name}: expected {tuple(images.shape)} {images.dtype} to keep shape and type, "
            f"got {tuple(restored.shape)} {restored.dtype}"
        )
    if not torch.equal(images, before):
        raise UsageError(f"{name}: expected a network that leaves its input as it is")
    if not restored.isfinite().all():
        raise UsageError(f"{name}: expected finite values, got a NaN or an infinity")
    return restored
