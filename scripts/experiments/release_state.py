"""How far the training of a release has come, on disk: the same command goes on from there, on any device.

Below the training's folder lie `release.json`, which lists the finished parts; `model/`, what they made; and
the checkpoint of the part that is being trained.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.model_folder import CARD
from rlrestore.model_folder.card import Record
from rlrestore.toolbox.checkpoint import WEIGHTS, Checkpoint
from rlrestore.toolbox.storage import checksum, load_toolbox
from rlrestore.toolbox.toolbox import Toolbox

STATE, MODEL = "release.json", "model"
MOST_BYTES, MOST_FILES = 20_000_000, 7
"""Of a state that travels."""


@dataclass(frozen=True)
class ReleaseState:
    """The state of a release's training.

    Attributes:
        folder: Where it lies.
        finished: The finished parts, in order, each with what the card says of it.
        started: Whether the training began with a finished model.
        pieces: The runs that the training was done in so far, as the card lists them.
        tools: Checksum of the tools after the last finished part; None before the first is finished.
    """

    folder: Path
    started: bool = False
    finished: tuple[tuple[str, tuple[Record, ...]], ...] = ()
    pieces: tuple[Record, ...] = ()
    tools: int | None = None

    @classmethod
    def read(cls, folder: Path, started: bool) -> Self:
        """Read the state below a folder; where there is none, nothing has begun.

        Args:
            folder: Where it lies.
            started: Whether the training is to begin with a finished model.

        Raises:
            ModelError: It is damaged.
            UsageError: It is of a training that began otherwise.
        """
        path = folder / STATE
        if not path.exists():
            return cls(folder, started)
        try:
            content = json.loads(path.read_text("utf-8"))
            finished = tuple((name, tuple(records)) for name, records in content["finished"])
            state = cls(folder, content["started"], finished, tuple(content["pieces"]), content["tools"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path} is damaged ({error}); copy it again, or choose another --out"
            ) from error

        if state.started != started:
            began = "with" if state.started else "without"
            raise UsageError(f"{path} is of a training that began {began} --start: do so here, too")
        return state

    def write(self) -> None:
        """Write the list."""
        content = {
            "started": self.started,
            "finished": self.finished,
            "pieces": self.pieces,
            "tools": self.tools,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / STATE, json.dumps(content, indent=1).encode())

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the finished parts."""
        return tuple(name for name, _ in self.finished)

    @property
    def records(self) -> tuple[Record, ...]:
        """What the card says of the finished parts."""
        return tuple(record for _, records in self.finished for record in records)

    def with_piece(self, piece: Record) -> Self:
        """Add a run to the list, on disk too."""
        state = replace(self, pieces=(*self.pieces, piece))
        state.write()
        return state

    def after(
        self, part: str, records: Sequence[Record], toolbox: Toolbox, policy: AnyPolicy
    ) -> tuple[Self, Toolbox, AnyPolicy]:
        """Finish a part, on disk too.

        Returns:
            The state; and tools and agent as they are read back: a run that is cut here goes on from the same
            weights as one that is not.
        """
        device, model = toolbox.device, self.folder / MODEL
        save_model(model, toolbox, policy)
        toolbox = load_toolbox(model, device)
        policy = load_agent(model, toolbox, device)
        finished = (*self.finished, (part, tuple(records)))
        state = replace(self, finished=finished, tools=checksum(toolbox))
        state.write()
        return state, toolbox, policy

    def load(self, toolbox: Toolbox, policy: AnyPolicy, device: torch.device) -> tuple[Toolbox, AnyPolicy]:
        """Return tools and agent after the last finished part.

        Args:
            toolbox: What stands there before the first part is finished; also where the next part has begun
                and its checkpoint, which holds all tools, has travelled alone.
            policy: Likewise.
            device: Where to compute.

        Raises:
            ModelError: The model is damaged, or neither it nor such a checkpoint is there.
        """
        model = self.folder / MODEL
        if not self.finished:
            return toolbox, policy
        if (model / CARD).exists():
            toolbox = load_toolbox(model, device)
            return toolbox, load_agent(model, toolbox, device)
        if not any(_holds_all(checkpoint) for checkpoint in self._begun()):
            raise ModelError(f"expected a model in {model}, got none: copy the training's folder again")
        return toolbox, policy

    def _begun(self) -> list[Checkpoint]:
        """Return the checkpoints of parts that have begun and are not finished: one at most."""
        found = [Checkpoint(path.parent) for path in sorted(self.folder.rglob(f"{WEIGHTS}.safetensors"))]
        return [each for each in found if each.folder.relative_to(self.folder).parts[0] not in self.parts]

    def check_pack(self, to: Path) -> None:
        """Make sure that nothing but an earlier pack would be deleted.

        Raises:
            UsageError: The folder holds something else, or the state itself, or lies within that.
        """
        here, there = self.folder.resolve(), to.resolve()
        if here == there or here in there.parents or there in here.parents:
            raise UsageError(f"expected --pack outside of {self.folder}, got {to}: choose another folder")
        if to.exists() and not (to.is_dir() and (not any(to.iterdir()) or (to / STATE).is_file())):
            raise UsageError(f"expected a new folder or an earlier pack as --pack, got {to}: choose another")

    def pack(self, to: Path) -> None:
        """Write what must travel to go on elsewhere: weights in float16, no moments, no replay buffer.

        Args:
            to: The folder to write; an earlier pack in it is deleted. Given as `--out`'s training folder
                elsewhere, the same command goes on.

        Raises:
            RlrestoreError: It cannot be written, or is too large to travel.
            UsageError: The folder holds something else.
        """
        self.check_pack(to)
        try:
            shutil.rmtree(to, ignore_errors=True)
            begun, model = self._begun(), self.folder / MODEL
            for checkpoint in begun:
                checkpoint.lighten(to / checkpoint.folder.relative_to(self.folder))
            if model.exists() and not any(map(_holds_all, begun)):
                shutil.copytree(model, to / MODEL)
            replace(self, folder=to).write()
        except OSError as error:
            raise RlrestoreError(f"cannot write {to} ({error.strerror}); choose another folder") from error
        sizes = [path.stat().st_size for path in to.rglob("*") if path.is_file()]
        if sum(sizes) > MOST_BYTES or len(sizes) > MOST_FILES:
            raise RlrestoreError(
                f"expected a state of at most {MOST_BYTES / 1e6:.0f} MB in {MOST_FILES} files, "
                f"{to} holds {sum(sizes) / 1e6:.1f} MB in {len(sizes)}: finish the part, then it is smaller"
            )


def _holds_all(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is of a training along chains, which holds all tools."""
    about: Mapping[str, Any] = checkpoint.progress()["about"]
    return "begun" in about
