"""The main job: a photograph of any size in, the restored photograph and its trace out."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Self

import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.rollout import Rollout, greedy, roll_out
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.devices import resolve_device
from rlrestore.errors import ModelError, UsageError
from rlrestore.imaging.io.files import is_folder, write_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.transparency import cover_hidden
from rlrestore.imaging.metrics import psnr_db
from rlrestore.inference.chains import Chain, apply_tool_, global_chain, local_chain
from rlrestore.inference.photos import PhotoLike, as_given, as_photo, to_frame, to_tensor, with_tensor
from rlrestore.toolbox.storage import load_toolbox, read_card
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.trace import STOP_NAME, Trace, TraceStep

SHIPPED = Path(__file__).parent / "weights"
"""The models that come with the package, a folder each."""

CHAINS = {"global": global_chain, "local": local_chain}


@dataclass(frozen=True)
class Restoration:
    """A restored photograph.

    Attributes:
        photo: The result at its full depth, with all that came with the input (transparency, colour profile,
            EXIF).
        trace: What was done, and why.
        given: What makes of a `Photo` the kind of thing that the input was.
    """

    photo: Photo = field(repr=False)
    trace: Trace
    given: Callable[[Photo], Any] = field(default=Photo.to_image, repr=False)

    @property
    def image(self) -> Any:
        """The result as it was handed in: an array for an array, a tensor for a tensor.

        For anything else, a path among it, it is a Pillow image of 8 bits a sample.
        """
        return self.given(self.photo)

    def save(self, path: str | os.PathLike[str], quality: int | None = None) -> tuple[str, ...]:
        """Write the result in the format of the name's suffix, completely or not at all.

        Args:
            path: The file, as in `write_photo`.
            quality: From 1 to 100, for JPEG, AVIF and WebP.

        Returns:
            Notes on what of the photograph the format cannot hold and was left out.

        Raises:
            ImageError: It cannot be written there.
        """
        return write_photo(path, self.photo, quality)


class Restorer:
    """A toolbox and the agent that chooses from it, ready to restore photographs, from any number of threads.

    Attributes:
        concurrent: Whether threads restore at the same time. They take turns on other devices than the
            processor, and with tools of your own, which may remember something between their layers.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        policy: AnyPolicy,
        name: str = "custom",
        card: Mapping[str, Any] | None = None,
    ) -> None:
        """Put a model together.

        Args:
            toolbox: The tools.
            policy: The agent, trained on these tools, on the same device.
            name: What the trace calls the model.
            card: What is known about it.

        Raises:
            ModelError: The agent chooses among another number of tools.
        """
        if policy.tools != toolbox.stop:
            raise ModelError(
                f"expected an agent and a toolbox that fit, got an agent of {policy.tools} tools beside "
                f"{', '.join(toolbox.names)}; train the agent on this toolbox"
            )
        self.toolbox = toolbox.eval()
        self.policy = policy.eval()
        self.name = name
        self.card = dict(card or {})
        self.concurrent = self.device.type == "cpu" and not any(spec.custom for spec in toolbox.specs)
        self._turn = nullcontext() if self.concurrent else Lock()

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.policy.parameters()).device

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike[str] = "default", device: str = "cpu") -> Self:
        """Read a model.

        Args:
            name_or_folder: A model that comes with the package, or the folder of one of your own.
            device: Where to compute, such as `cpu`, `cuda`, `cuda:1` or `mps`.

        Raises:
            UsageError: There is no such model or device, or the model is damaged.
        """
        place = resolve_device(device)
        name = os.fspath(name_or_folder)
        folder = find_model(name)
        toolbox = load_toolbox(folder, place)
        return cls(toolbox, load_agent(folder, toolbox, place), name, read_card(folder))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the model into a folder, which is made if need be."""
        save_model(Path(folder), self.toolbox, self.policy, self.card)

    def restore(
        self,
        photo: PhotoLike,
        reference: PhotoLike | None = None,
        mode: str = "global",
        max_steps: int | None = None,
        keep_steps: bool = True,
        progress: bool = False,
        in_place: bool = False,
    ) -> Restoration:
        """Restore one photograph. Nothing is clipped or rounded between the steps, only at the end.

        In memory is the photograph once, 12 bytes a pixel, changed in place; reading and writing a file take
        8 bytes a pixel more for a while. Beside it stand half a gigabyte, the steps that are kept, a
        reference, and what was handed in. With transparency it takes twice as much: wholly transparent pixels
        are given the colours around them for the while, so that theirs do not bleed into what is seen.

        Args:
            photo: A path, a `Photo`, a Pillow image, an array `(H, W, 3)` or `(H, W)`, or a tensor
                `(3, H, W)` or `(1, 3, H, W)`. Whole numbers span the range of their type, floats lie in
                [0, 1].
            reference: The same photograph undamaged, to measure against; the agent never sees it.
            mode: `global` applies each tool to the whole photograph; `local` lets every region follow its own
                chain.
            max_steps: Tools to apply at most; the model's own limit without it.
            keep_steps: Keep the photograph after every step in the trace, for its picture (3 bytes a pixel
                each).
            progress: Show a bar on stderr for a step that takes longer than a second, where stderr is a
                terminal.
            in_place: Change the pixels of a `Photo` that is handed in, to spare its copy.

        Raises:
            ImageError: The photograph or the reference cannot be read.
            UsageError: Unknown mode, a limit below 1, or a reference of another size.
            ModelError: The model's weights lead to a NaN or an infinity.
        """
        source = as_photo(photo)
        if mode not in CHAINS:
            raise UsageError(f"unknown mode {mode!r}: expected {' or '.join(CHAINS)}")
        limit = self.policy.max_steps if max_steps is None else max_steps
        if limit < 1:
            raise UsageError(f"expected max_steps of at least 1, got {limit}")
        truth = None if reference is None else as_photo(reference)
        if truth is not None and truth.pixels.shape != source.pixels.shape:
            raise UsageError(
                f"expected a reference of the image's size, {source.width}×{source.height} pixels, "
                f"got {truth.width}×{truth.height}"
            )
        with self._turn, torch.inference_mode():
            image = to_tensor(source, self.device)
            if source is photo and not in_place:
                image = image.clone()
            image, put_back = cover_hidden(image, source.alpha)
            chain = CHAINS[mode](self.toolbox, self.policy, image, limit, progress)
            clean = None if truth is None else cover_hidden(to_tensor(truth, self.device), source.alpha)[0]
            in_db = "values" not in self.card  # PPO's preferences are marked
            trace = Trace(mode, self.name, source.width, source.height, steps=(), values_in_db=in_db)
            image, trace = _follow(chain, image, clean, trace, keep_steps)
            gains_db = [step.expected_gain_db for step in trace.steps]
            put_back(image)
            extremes = map(float, image.permute(0, 2, 3, 1).aminmax())  # as it lies in memory: no copy
            if not all(map(math.isfinite, (*extremes, *gains_db))):
                raise ModelError(
                    f"expected finite numbers from the model {self.name!r}, got a NaN or an infinity; "
                    "use another model"
                )
            return Restoration(with_tensor(source, image), trace, as_given(photo))

    @torch.inference_mode()
    def restore_patches(self, images: Tensor, max_steps: int | None = None) -> Rollout:
        """Restore a batch of patches of the agent's own size, each by its own chain.

        Args:
            images: `(B, 3, patch, patch)` RGB in [0, 1]; moved to the model's device.
            max_steps: Tools to apply at most; the model's own limit without it.
        """
        limit = self.policy.max_steps if max_steps is None else max_steps
        return roll_out(self.toolbox, images.to(self.device), greedy(self.policy), limit)


def _follow(
    chain: Chain, image: Tensor, clean: Tensor | None, trace: Trace, keep_steps: bool
) -> tuple[Tensor, Trace]:
    """Run a chain to its end.

    Args:
        chain: The steps to come.
        image: `(1, 3, H, W)` the input, which the chain changes.
        clean: The reference, None without one.
        trace: What is known before the first step.
        keep_steps: Whether the trace keeps the photograph after every step.

    Returns:
        The result, not clipped, and the trace with all that was done.
    """

    def measured(current: Tensor) -> float | None:
        return None if clean is None else float(psnr_db(current, clean))

    start_psnr_db = measured(image)
    frames = [to_frame(image)] if keep_steps else []
    steps: list[TraceStep] = []
    for after, step in chain:
        image = after
        steps.append(replace(step, psnr_db=measured(image)))
        if keep_steps and step.tool != STOP_NAME:
            frames.append(to_frame(image))
    done = replace(
        trace,
        steps=tuple(steps),
        start_psnr_db=start_psnr_db,
        frames=tuple(frames),
        reference=to_frame(clean) if keep_steps and clean is not None else None,
    )
    return image, done


def check_tool(toolbox: Toolbox, name: str) -> None:
    """Make sure that a toolbox has a tool.

    Raises:
        UsageError: It has no such tool.
    """
    if name not in toolbox.names:
        raise UsageError(f"unknown tool {name!r}: expected one of {', '.join(toolbox.names)}")


@torch.inference_mode()
def apply_by_hand(toolbox: Toolbox, name: str, photo: Photo) -> Photo:
    """Apply one tool to a whole photograph, whatever the agent would think of it.

    Raises:
        UsageError: The toolbox has no such tool.
    """
    check_tool(toolbox, name)
    device = toolbox.device
    image = to_tensor(photo, device).clone()
    return with_tensor(photo, apply_tool_(toolbox, toolbox.names.index(name), image))


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return tuple(sorted(card.parent.name for card in SHIPPED.glob("*/card.json")))


def find_model(name_or_folder: str) -> Path:
    """Return the folder of a model, given its name or the folder itself.

    Raises:
        ModelError: There is neither.
    """
    if name_or_folder in shipped_models():
        return SHIPPED / name_or_folder
    folder = Path(name_or_folder)
    if not name_or_folder or not is_folder(folder):
        shipped: Iterable[str] = shipped_models() or ("none",)
        raise ModelError(
            f"no model {name_or_folder!r}: expected a model's folder or the name of a shipped model "
            f"({', '.join(shipped)})"
        )
    return folder


def restore(
    photo: PhotoLike,
    reference: PhotoLike | None = None,
    *,
    mode: str = "global",
    max_steps: int | None = None,
    model: str | os.PathLike[str] = "default",
    device: str = "cpu",
) -> Restoration:
    """Restore one photograph with a shipped model or your own.

    For many photographs make one `Restorer` and call its `restore`: this reads the model each time.

    Args:
        photo: As in `Restorer.restore`, like `reference`, `mode` and `max_steps`.
        reference: The same photograph undamaged, to measure against.
        mode: `global` or `local`.
        max_steps: Tools to apply at most.
        model: As in `Restorer.from_pretrained`, like `device`.
        device: Where to compute.
    """
    return Restorer.from_pretrained(model, device).restore(photo, reference, mode, max_steps)
