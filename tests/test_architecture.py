"""The rules of the house that can be read off the source: imports go one way, files are small."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

# From the ground up: a module imports from its own layer and from those before it.
LAYERS = (
    ("rlrestore.errors", "rlrestore.devices", "rlrestore.lazy", "rlrestore.__version__"),
    ("rlrestore.imaging",),
    ("rlrestore.toolbox", "rlrestore.model_folder"),
    ("rlrestore.envs",),
    ("rlrestore.agent",),
    ("rlrestore",),
)
FOLDERS = {
    "rlrestore": "rlrestore",
    "rlrestore.toolbox": "toolbox",
    "rlrestore.envs": "envs",
    "rlrestore.agent": "agent",
}
CHECKED = ("rlrestore", "toolbox", "envs", "agent", "scripts", "tests")
MAX_LINES = 350
MAX_ROOT_MODULES = 8
MAX_LINKS = 10
"""Of a chain of modules of which each imports the next when it is imported itself."""


def layer(module: str) -> int:
    """The floor of a module: 0 is the ground, the highest is the face of the package."""
    for floor, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return floor
    raise ValueError(f"expected a module of rlrestore, got {module!r}")


def imported(tree: ast.AST, module: str) -> Iterator[str]:
    """Yield the full dotted name of all that a file imports, wherever in the file it does so.

    `from a.b import c` yields `a.b.c`: whether c is a module or a name in one, its layer is the same.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.rsplit(".", node.level)[0] if node.level else ""
            start = ".".join(part for part in (package, node.module) if part)
            yield from (f"{start}.{alias.name}" for alias in node.names)


def broken(module: str, source: str) -> list[str]:
    """List the imports of a module's source that reach up, or that use a bare folder's name."""
    found = []
    for name in imported(ast.parse(source), module):
        top = name.split(".", maxsplit=1)[0]
        if top in ("toolbox", "envs", "agent"):
            found.append(f"{module} imports {name}: write rlrestore.{name}")
        elif top == "rlrestore" and layer(name) > layer(module):
            found.append(f"{module} imports {name}, which stands above it")
    return found


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the file of every module of the package."""
    for package, folder in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def files(root: Path) -> list[Path]:
    """List every Python file of the tree that people write."""
    return [path for folder in CHECKED for path in sorted((root / folder).rglob("*.py"))]


def test_imports_go_one_way(root: Path) -> None:
    found = [line for module, path in modules(root) for line in broken(module, path.read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_tests_and_scripts_use_the_one_import_name(root: Path) -> None:
    outside = [path for path in files(root) if path.relative_to(root).parts[0] in ("scripts", "tests")]
    found = [line for path in outside for line in broken("rlrestore.outside", path.read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_the_walk_sees_every_layer(root: Path) -> None:
    # Guards the two tests above: a folder that moved would otherwise be checked by nobody.
    assert {layer(module) for module, _ in modules(root)} == set(range(len(LAYERS)))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rlrestore.imaging.degradation.jpeg", "from rlrestore.toolbox import networks"),
        ("rlrestore.imaging.degradation.jpeg", "from rlrestore import toolbox"),
        ("rlrestore.toolbox.training", "def f():\n    import rlrestore.envs.single"),
        ("rlrestore.envs.single", "from rlrestore.agent.policy import Policy"),
        ("rlrestore.agent.policy", "from rlrestore import restorer"),
        ("rlrestore.errors", "from rlrestore.imaging.io.files import Photo"),
        ("rlrestore.envs.single", "from ..agent import policy"),
        ("rlrestore.restorer", "import toolbox.specs"),
        ("rlrestore.restorer", "from agent import policy"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(broken(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rlrestore.toolbox.training", "import rlrestore.imaging\nfrom rlrestore.toolbox import specs"),
        ("rlrestore.toolbox.storage", "from rlrestore import __version__"),
        ("rlrestore.cli.main", "from rlrestore.agent.policy import Policy\nimport torch"),
        ("rlrestore.envs.single", "from . import transition"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert broken(module, source) == []


def test_few_modules_stand_at_the_root(root: Path) -> None:
    names = sorted(path.name for path in (root / "rlrestore").glob("*.py"))
    assert len(names) <= MAX_ROOT_MODULES, names


def executed(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported: neither functions nor imports for types."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            typing_alone = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            parts = ("orelse",) if typing_alone else ("body", "orelse", "finalbody")
            for part in parts:
                yield from executed(getattr(node, part, ()))
            for handler in getattr(node, "handlers", ()):
                yield from executed(handler.body)


def links(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return for each module the modules that importing it imports, given the source of each."""
    found = {}
    for module, source in sources.items():
        tree = ast.Module(list(executed(ast.parse(source).body)), [])
        names = set(imported(tree, module))
        parents = {name.rpartition(".")[0] for name in names if name not in sources}  # of what is no module
        found[module] = ((names | parents) & set(sources)) - {module, "rlrestore"}
    return found


def longest_chain(graph: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Return the longest chain of modules of which each imports the next."""

    @cache
    def down(module: str) -> tuple[str, ...]:
        return (module, *max((down(name) for name in graph[module]), key=len, default=()))

    return max(map(down, graph), key=len)


def test_chains_of_imports_are_short(root: Path) -> None:
    chain = longest_chain(links({module: path.read_text("utf-8") for module, path in modules(root)}))
    assert len(chain) - 1 <= MAX_LINKS, " > ".join(chain)


def test_the_links_of_a_chain_are_counted() -> None:
    sources = {
        "rlrestore.a": "from rlrestore.b import x\nif TYPE_CHECKING:\n    from rlrestore import d",
        "rlrestore.b": "try:\n    from rlrestore import c\nexcept ImportError:\n    pass",
        "rlrestore.c": "def f():\n    import rlrestore.d",
        "rlrestore.d": "",
    }
    assert longest_chain(links(sources)) == ("rlrestore.a", "rlrestore.b", "rlrestore.c")


def test_files_are_short(root: Path) -> None:
    counts = {path.relative_to(root): len(path.read_text("utf-8").splitlines()) for path in files(root)}
    long = {str(path): count for path, count in counts.items() if count > MAX_LINES}
    assert not long, f"files over {MAX_LINES} lines: {long}"


def test_only_the_command_line_prints(root: Path) -> None:
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for _, path in modules(root)
        if root / "rlrestore" / "cli" not in path.parents
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found, f"prints outside rlrestore/cli: {found}"
