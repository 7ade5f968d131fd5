"""What a client may ask for, field by field: read, checked, and described for the page and for `/docs`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlrestore.errors import UsageError


@dataclass(frozen=True)
class Option:
    """One field.

    Attributes:
        name: Its name.
        text: What it does.
        kind: `number`, `integer`, `choice` or `names`, a list with commas.
        default: What it is when it is not sent; None leaves it to the model.
        low: The least number.
        high: The greatest number.
        choices: What can be chosen.
    """

    name: str
    text: str
    kind: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, text: str) -> Any:
        """Return what a field's text means.

        Raises:
            UsageError: It means nothing here.
        """
        if self.kind == "choice":
            if text in self.choices:
                return text
        elif self.kind == "names":
            names = tuple(name.strip() for name in text.split(","))
            if all(names):
                return names
        else:
            number = _number(text, whole=self.kind == "integer")
            if number is not None and _within(number, self.low, self.high):
                return number
        raise UsageError(f"expected {self.name} to be {self._expected()}, got {text[:100]!r}")

    def schema(self) -> dict[str, Any]:
        """Return it as a JSON schema."""
        kind = "string" if self.kind in ("choice", "names") else self.kind
        schema: dict[str, Any] = {"type": kind, "description": self.text}
        limits = {"minimum": self.low, "maximum": self.high, "default": self.default}
        schema |= {key: value for key, value in limits.items() if value is not None}
        return schema | ({"enum": list(self.choices)} if self.choices else {})

    def _expected(self) -> str:
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        if self.kind == "names":
            return "names with commas between them"
        noun = "a whole number" if self.kind == "integer" else "a number"
        return f"{noun} {f'from {self.low:g} to {self.high:g}' if self.high else f'of at least {self.low:g}'}"


def read_options(options: Iterable[Option], fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the value of every option; an empty field counts as not sent.

    Raises:
        UsageError: A field is unknown, or what it says means nothing.
    """
    known = {option.name: option for option in options}
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise UsageError(f"unknown field {unknown[0][:100]!r}: expected some of {', '.join(known)}")
    given = {name: text for name, text in fields.items() if text != ""}
    return {
        name: option.read(given[name]) if name in given else option.default for name, option in known.items()
    }


def _number(text: str, whole: bool) -> float | int | None:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _within(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number <= high)
