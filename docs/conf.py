"""The documentation site: `pip install '.[docs]'`, then `sphinx-build -W docs build/site`.

Pages are Markdown (myst), the reference is made of docstrings (autodoc, napoleon), and three directives of
this file read what nobody should write twice: `command-line` the parsers, `model-card` the card of a shipped
model, `docstring` one that is written in Markdown, as Gymnasium's are.
"""

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import rlrestore  # noqa: E402  # of this checkout
from rlrestore.cli.main import build_parser  # noqa: E402
from rlrestore.model_folder import find_model, read_card, weights_label  # noqa: E402

project = "rlrestore"
author = "rlrestore contributors"
project_copyright = f"2026, {author}"
release = version = rlrestore.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"rlrestore {release}"
html_show_sourcelink = False
smartquotes = False  # what stands in quotes is typed

os.environ["COLUMNS"] = "100"  # of the parsers' help

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source"]


class CommandLine(Directive):
    """The help of every subcommand, or of the one that is named, as the terminal shows it."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a section for each subcommand."""
        parser = build_parser()
        commands = next(action.choices for action in parser._actions if action.dest == "command")
        names = self.arguments or list(commands)
        return [self._section(f"rlrestore {name}", commands[name].format_help()) for name in names]

    def _section(self, title: str, text: str) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(title)])
        section += nodes.title(title, title)
        section += nodes.literal_block(text, text, language="text")
        return section


class ModelCardTable(Directive):
    """What the card of a shipped model says of its origin, and a table of its trainings."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"columns": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the facts as a list of fields, and the trainings as a table."""
        card = read_card(find_model(self.arguments[0]))
        facts = {"weights": weights_label(find_model(self.arguments[0]))}
        facts |= {key: card.facts[key] for key in ("about", "data", "note") if key in card.facts}
        columns = self.options["columns"].split()
        rows = [[str(each.get(column, "")) for column in columns] for each in card.training]
        return [self._fields(facts), self._table(columns, rows)]

    def _fields(self, facts: dict[str, Any]) -> nodes.field_list:
        fields = nodes.field_list()
        for key, value in facts.items():
            fields += nodes.field(
                "", nodes.field_name(key, key), nodes.field_body("", _paragraph(str(value)))
            )
        return fields

    def _table(self, columns: list[str], rows: list[list[str]]) -> nodes.table:
        group = nodes.tgroup(cols=len(columns))
        group += [nodes.colspec(colwidth=1) for _ in columns]
        group += nodes.thead("", _row(columns))
        group += nodes.tbody("", *map(_row, rows))
        return nodes.table("", group)


class MarkdownDocstring(Directive):
    """The docstring of what is named, `module:name`, as Markdown."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return its sections."""
        module, name = self.arguments[0].split(":")
        text = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
        node = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), module), 0, node)
        return node.children


def _paragraph(text: str) -> nodes.paragraph:
    return nodes.paragraph(text, text)


def _row(cells: list[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", _paragraph(cell)) for cell in cells))


def setup(app: Sphinx) -> None:
    """Add the directives."""
    app.add_directive("command-line", CommandLine)
    app.add_directive("model-card", ModelCardTable)
    app.add_directive("docstring", MarkdownDocstring)
