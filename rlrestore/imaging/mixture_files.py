"""Mixtures of degradations as TOML files: read, checked, and turned into recipes.

A file is a list of `[[part]]`, each with a weight and either one `degradation` with its amounts or a list of
`[[part.stage]]`, which are done in turn. docs/own-degradation.md explains it with examples.
"""

import difflib
import functools
import importlib.resources
import io
import reprlib
import tomllib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrestore.errors import UsageError
from rlrestore.imaging.chains import Chain, Stage
from rlrestore.imaging.degradation.registry import DEGRADATIONS, Degradation, Parameter
from rlrestore.imaging.mixture_parts import PARTS, SHARE, Setting
from rlrestore.imaging.recipes import AnyRecipe, Blend, NamedRecipe

LARGEST_BYTES = 1 << 16
"""Of a file: those that ship have less than 2000."""
SMALLEST_WEIGHT = 1e-6
"""Of the weightiest part: float32 may not tell less from nothing."""
WEIGHT = Setting(Parameter("", 0, 1e6), "number", 1.0)
STAGE_SHARE = Setting(SHARE, "number", 1.0)

TOO_MUCH = "expected brackets within brackets, and digits of a number, as few as in docs/own-degradation.md"

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value of a document."""


@functools.cache
def shipped_mixtures() -> Mapping[str, str]:
    """Return the content of the files that ship, by name."""
    folder = importlib.resources.files("rlrestore.imaging") / "mixtures"
    found = {
        file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")
    }
    return {name: found[name].read_text("utf-8") for name in sorted(found)}


def read_mixture(name: str | Path, degradations: Mapping[str, Degradation] = DEGRADATIONS) -> NamedRecipe:
    """Read a mixture that ships, by its name, or a file.

    Args:
        name: One of `shipped_mixtures`, or a path.
        degradations: What its stages may be.

    Raises:
        UsageError: There is no such file, or it is no mixture; the message names file, line and key.
    """
    content = shipped_mixtures().get(str(name))
    if content is not None:
        return _parse(str(name), str(name), content, str(name), degradations)
    path = Path(name)
    content = _read(path)
    identity = f"{path.stem} {zlib.crc32(content.encode()):08x}"
    return _parse(path.stem, identity, content, str(path), degradations)


def _read(path: Path) -> str:
    shipped = ", ".join(shipped_mixtures())
    if path.exists() and not path.is_file():
        raise UsageError(f"expected a mixture, one of {shipped} or a TOML file, {path} is no file")
    if not path.is_file():
        near = difflib.get_close_matches(str(path), shipped_mixtures(), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"expected a mixture, one of {shipped} or a TOML file, there is no {path}{hint}")
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"expected a mixture's TOML file, {path} has more than {LARGEST_BYTES} bytes")
        return path.read_text("utf-8-sig")  # editors of Windows put a mark before the text
    except UnicodeDecodeError:
        raise UsageError(f"expected a mixture's TOML file, {path} is no UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"cannot read the mixture {path} ({error.strerror}); check the file") from None


def _parse(
    name: str, identity: str, content: str, shown: str, degradations: Mapping[str, Degradation]
) -> NamedRecipe:
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{shown} is no TOML: {error}") from None
    except (RecursionError, ValueError):  # brackets within brackets, numbers of thousands of digits
        raise UsageError(f"{shown} holds what no mixture does: {TOO_MUCH}") from None
    reader = _Reader(shown, content, document, degradations)
    return NamedRecipe(name, identity, reader.recipe(), reader.about())


@dataclass(frozen=True)
class _Reader:
    """A document that is being checked."""

    shown: str
    content: str
    document: Mapping[str, Any]
    degradations: Mapping[str, Degradation]

    def error(self, place: Place, words: str) -> UsageError:
        """Return what refuses that which stands at a place."""
        return UsageError(f"{self.shown}, line {line_of(self.content, place)}: {words}")

    def about(self) -> str:
        """Return what the file says of itself."""
        about = self.document.get("about", "")
        if not isinstance(about, str):
            raise self.error(
                ("about",), f"about is {reprlib.repr(about)}: expected a text in quotation marks"
            )
        return about

    def recipe(self) -> AnyRecipe:
        """Return the recipe of the whole document."""
        self.check_keys(self.document, ("about", "part"), (), "a mixture")
        parts = self.tables(self.document.get("part"), ("part",), "[[part]]")
        found = [self.part(part, ("part", index)) for index, part in enumerate(parts)]
        if len(found) == 1:
            return found[0][1]
        if not any(weight >= SMALLEST_WEIGHT for weight, _ in found):
            raise self.error(
                ("part",), f"every weight is 0, or below {SMALLEST_WEIGHT:g}: give one part more"
            )
        return Blend(tuple(part for part in found if part[0]))

    def part(self, table: Mapping[str, Any], place: Place) -> tuple[float, AnyRecipe]:
        """Return a part's weight and recipe."""
        if "stage" in table:
            self.check_keys(table, ("weight", "stage"), place, "a part with stages")
            stages = self.tables(table["stage"], (*place, "stage"), "[[part.stage]]")
            chain = [self.stage(stage, (*place, "stage", index)) for index, stage in enumerate(stages)]
            return self.settings(table, {"weight": WEIGHT}, place, "a part")["weight"], Chain(tuple(chain))
        name = self.name(table, place, (*PARTS, *self.degradations), "degradation or [[part.stage]]")
        if name not in PARTS:
            alone = {key: value for key, value in table.items() if key != "weight"}
            weight = self.settings(table, {"weight": WEIGHT}, place, "a part")["weight"]
            return weight, Chain((self.stage(alone, place),))
        settings = {"weight": WEIGHT, **PARTS[name].settings}
        self.check_keys(table, ("degradation", *settings), place, name)
        given = self.settings(table, settings, place, name)
        weight = given.pop("weight")
        try:
            return weight, PARTS[name].make(given)
        except ValueError as error:
            raise self.error(place, f"{name}: {error}") from None

    def stage(self, table: Mapping[str, Any], place: Place) -> Stage:
        """Return a stage."""
        name = self.name(table, place, self.degradations, "degradation")
        degradation = self.degradations[name]
        settings = {key: Setting(parameter, "range") for key, parameter in degradation.parameters.items()}
        self.check_keys(table, ("degradation", "share", *settings), place, name)
        share = self.settings(table, {"share": STAGE_SHARE}, place, name)["share"]
        return Stage(name, degradation, self.settings(table, settings, place, name), share)

    def name(self, table: Mapping[str, Any], place: Place, known: Iterable[str], missing: str) -> str:
        """Return the name of a table's degradation."""
        if "degradation" not in table:
            raise self.error(place, f"expected {missing} here, got {_keys(table)}")
        name, names = table["degradation"], list(known)
        if name in names:
            return str(name)
        hint = _did_you_mean(name, names)
        of = "a stage" if "stage" in place else "a part"
        raise self.error(
            (*place, "degradation"),
            f"{reprlib.repr(name)} is no degradation of {of}{hint}: {', '.join(names)}",
        )

    def settings(
        self, table: Mapping[str, Any], settings: Mapping[str, Setting], place: Place, name: str
    ) -> dict[str, Any]:
        """Return what a table says of each setting, or its default."""
        found = {}
        for key, setting in settings.items():
            if key in table:
                found[key] = setting.read(table[key])
                if found[key] is None:
                    words = f"{key} of {name} is {reprlib.repr(table[key])}: expected {setting.expected()}"
                    raise self.error((*place, key), words)
            elif setting.default is None:
                raise self.error(place, f"{name} lacks {key}: give {setting.expected()}")
            else:
                found[key] = setting.default
        return found

    def tables(self, value: object, place: Place, header: str) -> list[Mapping[str, Any]]:
        """Return a list of tables, at least one."""
        if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
            raise self.error(place, f"expected one or more {header}")
        return value

    def check_keys(self, table: Mapping[str, Any], known: Iterable[str], place: Place, name: str) -> None:
        """Refuse a key that nothing asks for."""
        names = list(known)
        for key in table:
            if key not in names:
                hint = _did_you_mean(key, names)
                raise self.error(
                    (*place, key), f"{name} has no key {reprlib.repr(key)}{hint}: {', '.join(names)}"
                )


def _keys(table: Mapping[str, Any]) -> str:
    return reprlib.repr(list(table)) if table else "nothing"


def _did_you_mean(word: object, names: list[str]) -> str:
    near = difflib.get_close_matches(str(word), names, 1)
    return f"; did you mean {near[0]}? It may be" if near else "; expected"


def line_of(content: str, place: Place) -> int:
    """Return the line where the statement begins that gives a place of a TOML document its value.

    The parser itself finds it: the shortest beginning of the document that holds the place, by bisection.
    """
    lines = io.StringIO(content).readlines()
    if not _holds(tomllib.loads(content), place):
        return max(1, len(lines))
    before, end = (
        0,
        len(lines),
    )  # lines of a beginning without the place; all from `end` on hold it or are no TOML
    while before + 1 < end:
        middle = (before + end) // 2
        number, document = _first_whole(lines, middle, end)
        if document is None or _holds(document, place):
            end = middle
        else:
            before = number
    return before + 1


def _first_whole(lines: list[str], first: int, end: int) -> tuple[int, dict[str, Any] | None]:
    """Return lines and content of the first beginning, of `first` to `end` - 1 lines, that is TOML."""
    for number in range(first, end):
        try:
            return number, tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
    return end, None


def _holds(document: Any, place: Place) -> bool:
    for step in place:
        if isinstance(step, int):
            if not isinstance(document, list) or len(document) <= step:
                return False
        elif not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return True
