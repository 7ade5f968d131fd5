"""The chain of a photograph and the values behind it: a table, JSON, and a picture."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlrestore.errors import UsageError
from rlrestore.explain.errors import ErrorMap, error_map, find_harm
from rlrestore.explain.heat import error_heat
from rlrestore.inference.regions import Regions
from rlrestore.picture import Panel, draw

if TYPE_CHECKING:
    from rlrestore.explain.inspection import Inspection

STOP_NAME = "stop"
BY_AGENT, BY_HAND = "agent", "hand"


@dataclass(frozen=True)
class TraceStep:
    """One step of a chain.

    Attributes:
        tool: The tool that was applied, or `stop`. In local mode the tool that most regions chose; `stop`
            where all of them did.
        expected_gain_db: Gain that the agent expected of this action, in dB; 0 for stop. In local mode the
            mean over the regions, each by its own. None of an agent whose values are not in dB (PPO).
        runners_up: The two next best actions and their expected gains in dB, beside a stop less the gain that
            the agent stops below; none of such an agent.
        time_ms: How long valuing the windows and applying the tools took.
        psnr_db: PSNR to the reference after the step in dB, None without a reference.
        shares: Every action and its share of the regions, in (0, 1], largest first.
        regions: Where each tool worked, in local mode.
        chosen_by: `agent`, or `hand` if the chain was given.
    """

    tool: str
    expected_gain_db: float | None
    runners_up: tuple[tuple[str, float], ...]
    time_ms: float
    psnr_db: float | None = None
    shares: tuple[tuple[str, float], ...] = ()
    chosen_by: str = BY_AGENT
    regions: Regions | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """The tool's name; where the regions differ, the three largest shares of 1 % and more."""
        if len(self.shares) < 2:
            return self.tool
        return ", ".join(f"{name} {share:.0%}" for name, share in self.shares[:3] if share >= 0.01)


@dataclass(frozen=True)
class Trace:
    """The whole chain of one photograph.

    Attributes:
        mode: `global` or `local`.
        model: Name of the model that restored it.
        width: Pixels across.
        height: Pixels down.
        steps: Every step in order. A chain that the agent ended has a last step named `stop`; one that met
            the limit has none.
        start_psnr_db: PSNR of the input to the reference in dB, None without a reference.
        frames: `(height, width, 3)` uint8: the input and the photograph after every tool. Empty if not kept.
        reference: The reference like a frame, None without one or if frames were not kept.
        left_out: The tools that the agent was not allowed to choose.
        strength: How much of the change was kept after the chain, from 0 to 1.
        detail: How much of the detail that the chain took away was brought back, from 0 to 1.
        blend_psnr_db: PSNR of the result at this strength and detail, None if it was not measured.
        blend: The result at this strength and detail like a frame, None if it was not kept.
        precision: In which the tools computed, `float32` or `bfloat16`.
        views: Of the photograph, on which every tool worked, for the mean of its results.
        inspection: What is wrong with the input, None if it was not inspected.
    """

    mode: str
    model: str
    width: int
    height: int
    steps: tuple[TraceStep, ...]
    start_psnr_db: float | None = None
    frames: tuple[NDArray[np.uint8], ...] = ()
    reference: NDArray[np.uint8] | None = None
    left_out: tuple[str, ...] = ()
    strength: float = 1.0
    detail: float = 0.0
    blend_psnr_db: float | None = None
    blend: NDArray[np.uint8] | None = None
    precision: str = "float32"
    views: int = 1
    inspection: "Inspection | None" = None

    @property
    def stopped(self) -> bool:
        """Whether the agent ended the chain itself, before the limit."""
        return bool(self.steps) and self.steps[-1].tool == STOP_NAME

    @property
    def divided(self) -> bool:
        """Whether some step of local mode treated one part of the photograph differently from another."""
        return any(step.regions is not None and len(step.shares) > 1 for step in self.steps)

    @property
    def found_alike(self) -> bool:
        """Whether local mode looked for regions that differ and found none."""
        return any(step.regions is not None for step in self.steps) and not self.divided

    @property
    def applied(self) -> tuple[TraceStep, ...]:
        """The steps in which a tool was applied."""
        return self.steps[:-1] if self.stopped else self.steps

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the applied tools in order."""
        return tuple(step.tool for step in self.applied)

    @property
    def expected_gain_db(self) -> float | None:
        """The gain that the agent expected of all steps together, in dB; None if its values are not in dB.

        It is of the whole change: of strength 1, without detail.
        """
        gains_db = [step.expected_gain_db for step in self.steps if step.expected_gain_db is not None]
        return sum(gains_db) if len(gains_db) == len(self.steps) else None

    @property
    def expected_text(self) -> str:
        """The expected gain, as in `expected +1.20 dB at full strength`; nothing if it is not in dB."""
        gain = db_text(self.expected_gain_db)
        return f"expected {gain} {self.expected_at}".rstrip() if gain else ""

    @property
    def expected_at(self) -> str:
        """Of what the gain is expected where that is not the result: `at full strength`, `without detail`."""
        away = ["at full strength"] if self.strength != 1 else []
        return " and ".join(away + (["without detail"] if self.detail else []))

    @property
    def psnr_db(self) -> float | None:
        """PSNR of the result to the reference in dB, None without a reference."""
        if (self.strength, self.detail) != (1, 0):
            return self.blend_psnr_db
        return self.applied[-1].psnr_db if self.applied else self.start_psnr_db

    def gains_db(self) -> tuple[float | None, ...]:
        """Return the measured gain of every step in dB, None without a reference."""
        before = [self.start_psnr_db, *(step.psnr_db for step in self.steps)]
        return tuple(
            None if start is None or step.psnr_db is None else step.psnr_db - start
            for start, step in zip(before, self.steps, strict=False)
        )

    @cached_property
    def error_maps(self) -> tuple[ErrorMap, ...]:
        """Where each of the frames differs from the reference; none without reference or frames.

        Of the frames as they are, in 8 bits, where `psnr_db` is of the unrounded photograph.
        """
        return (
            () if self.reference is None else tuple(error_map(each, self.reference) for each in self.frames)
        )

    def _numbered(self) -> list[tuple[int, TraceStep, float | None]]:
        """Return every step with its number, from 1, and its measured gain."""
        return list(zip(range(1, len(self.steps) + 1), self.steps, self.gains_db(), strict=True))

    def table(self) -> str:
        """Return the chain as a table for a terminal, one line a step."""
        measured = self.start_psnr_db is not None
        head = ["step", "tool", "expected gain", "runner-up", "second runner-up", "time"]
        rows = [[*head, "PSNR", "measured gain"] if measured else head]
        if self.start_psnr_db is not None:
            rows.append(["0", "(input)", "", "", "", "", f"{self.start_psnr_db:.2f} dB", ""])
        rows += [self._row(number, step, gain_db) for number, step, gain_db in self._numbered()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(line.rstrip() for line in lines)

    def to_json(self) -> dict[str, Any]:
        """Return the chain as plain JSON values: gains and PSNR in dB, times in ms, None if not measured."""
        return {
            "model": self.model,
            "precision": self.precision,
            "views": self.views,
            "mode": self.mode,
            "width": self.width,
            "height": self.height,
            "tools": list(self.tools),
            "left_out": list(self.left_out),
            "inspection": None if self.inspection is None else self.inspection.to_json(),
            "stopped": self.stopped,
            "strength": self.strength,
            "detail": self.detail,
            "expected_gain_db": _rounded(self.expected_gain_db),
            "input_psnr_db": _rounded(self.start_psnr_db),
            **({"input_ssim": _rounded(self.error_maps[0].mean_ssim)} if self.error_maps else {}),
            "psnr_db": _rounded(self.psnr_db),
            "time_ms": round(sum(step.time_ms for step in self.steps), 1),
            "steps": [
                _step_json(number, step, gain_db) | self._errors_json(number)
                for number, step, gain_db in self._numbered()
            ],
        }

    def _errors_json(self, number: int) -> dict[str, Any]:
        """Return what the maps say of a step, from 1, if it was measured and applied a tool."""
        if number >= len(self.error_maps):
            return {}
        before, after = self.error_maps[number - 1 : number + 1]
        return {"ssim": _rounded(after.mean_ssim), "harm": find_harm(before, after).to_json()}

    def picture(self, max_width: int = 1800) -> Image.Image:
        """Draw input, every step and result side by side, and below each the crop that changed most.

        With a reference, below that where PSNR and SSIM are low, and where the step did harm.

        Args:
            max_width: The picture is at most this many pixels wide.

        Raises:
            UsageError: The frames were not kept.
        """
        if not self.frames:
            raise UsageError("no frames were kept to draw: restore with keep_steps=True")
        panels = [Panel(self.frames[0], "input", self._start_caption())]
        for (number, step, gain_db), frame in zip(self._numbered(), self.frames[1:], strict=False):
            panels.append(Panel(frame, f"{number}: {step.label}", self._caption(step, gain_db)))
        for number, after in enumerate(self.error_maps):
            before = self.error_maps[number - 1] if number else None
            panels[number] = replace(panels[number], maps=error_heat(before, after))
        if self.blend is not None:
            psnr = () if self.psnr_db is None else (f"PSNR {self.psnr_db:.2f} dB",)
            panels.append(Panel(self.blend, f"result: {self.blend_text}", psnr))
        elif self.applied:
            last = panels[-1]
            panels[-1] = replace(last, title=f"{last.title} = result")
        else:
            why = ("stop: no tool was expected to gain enough",)
            panels.append(Panel(self.frames[0], "result = input", why))
        result = len(panels) - 1
        if self.reference is not None:
            panels.append(Panel(self.reference, "reference", ()))
        for (number, step, _), frame in zip(self._numbered(), self.frames, strict=False):
            if self.divided and step.regions is not None and step.tool != STOP_NAME:
                panels.append(_map_panel(number, step.regions, frame))
        return draw(panels, compare=(0, result), max_width=max_width)

    @property
    def blend_text(self) -> str:
        """Strength and detail where they are not the usual ones, as in `strength 0.5, detail 0.3`."""
        parts = [f"strength {self.strength:g}"] if self.strength != 1 else []
        return ", ".join(parts + ([f"detail {self.detail:g}"] if self.detail else []))

    def _start_caption(self) -> tuple[str, ...]:
        caption = [f"{self.width} x {self.height} pixels"]
        caption += [f"{self.views} views of it for every tool"] if self.views > 1 else []
        caption += [] if self.start_psnr_db is None else [f"PSNR {self.start_psnr_db:.2f} dB"]
        caption += [] if self.inspection is None else self.inspection.captions()
        return (*caption, "no regions differ") if self.found_alike else tuple(caption)

    def _row(self, number: int, step: TraceStep, gain_db: float | None) -> list[str]:
        runners_up = [f"{name} {db_text(value)}" for name, value in step.runners_up[:2]]
        runners_up += [""] * (2 - len(runners_up))
        cells = [
            str(number),
            step.label + (" (by hand)" if step.chosen_by == BY_HAND else ""),
            db_text(step.expected_gain_db),
            *runners_up,
            f"{step.time_ms:.0f} ms",
        ]
        if step.psnr_db is None or gain_db is None:
            return cells
        return [*cells, f"{step.psnr_db:.2f} dB", db_text(gain_db)]

    def _caption(self, step: TraceStep, gain_db: float | None) -> tuple[str, ...]:
        expected = () if step.expected_gain_db is None else (f"expected {db_text(step.expected_gain_db)}",)
        return expected if gain_db is None else (*expected, f"PSNR {step.psnr_db:.2f} dB ({gain_db:+z.2f})")


def _map_panel(number: int, regions: Regions, frame: NDArray[np.uint8]) -> Panel:
    """Return the map of a step over the photograph before it, with the legend as its caption."""
    legend = regions.legend()
    caption = tuple(f"{name} {share:.0%}" for name, share, _ in legend)
    return Panel(regions.overlay(frame), f"{number}: where", caption, tuple(colour for *_, colour in legend))


def db_text(gain_db: float | None) -> str:
    """Return a gain with its sign, a zero with a plus, and its unit; nothing of None."""
    return "" if gain_db is None else f"{gain_db:+z.2f} dB"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _step_json(number: int, step: TraceStep, gain_db: float | None) -> dict[str, Any]:
    return {
        "step": number,
        "tool": step.tool,
        "chosen_by": step.chosen_by,
        "expected_gain_db": _rounded(step.expected_gain_db),
        "runners_up": [
            {"tool": name, "expected_gain_db": round(value_db, 4)} for name, value_db in step.runners_up
        ],
        "shares": {name: round(share, 4) for name, share in step.shares},
        "time_ms": round(step.time_ms, 1),
        "psnr_db": _rounded(step.psnr_db),
        "gain_db": _rounded(gain_db),
    }
