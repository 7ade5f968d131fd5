"""What Windows or macOS lacks is found by reading the sources: neither `restore` nor a training calls it."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from tests.test_architecture import FOLDERS

POSIX_MODULES = frozenset(
    {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
)
POSIX_NAMES = {
    "os": re.compile(
        r"(fork|forkpty|fchmod|fchown|chown|lchown|chroot|mkfifo|mknod|nice|openpty|pathconf|posix_\w+|pread\w*"
        r"|pwrite\w*|readv|writev|sched_\w+|sendfile|setsid|set(e|re|res)?[ug]id|get(e|res)?[ug]id|getgroups"
        r"|getloadavg|getp?gid|getpgrp|getpriority|getsid|killpg|initgroups|setgroups|setpgid|setpriority"
        r"|statvfs|fstatvfs|sync|sysconf|tcgetpgrp|tcsetpgrp|uname|wait|wait[34]|waitid|[gs]etxattr|listxattr"
        r"|copy_file_range|memfd_create|EX_\w+|O_(CLOEXEC|DIRECTORY|DSYNC|NOCTTY|NOFOLLOW|NONBLOCK|SYNC)"
        r"|P_ALL|P_PID|WNOHANG|WIFEXITED|WEXITSTATUS|WTERMSIG)"
    ),
    "signal": re.compile(
        r"(alarm|setitimer|getitimer|pause|siginterrupt|sigwait\w*|sigpending|pthread_\w+|ITIMER_\w+"
        r"|SIG(ALRM|BUS|CHLD|CONT|HUP|KILL|PIPE|QUIT|STOP|TSTP|USR[12]|WINCH|XCPU))"
    ),
    "select": re.compile(r"(poll|epoll|kqueue)"),
    "socket": re.compile(r"(AF_UNIX|socketpair|SO_REUSEPORT|CMSG_\w+)"),
    "time": re.compile(r"(tzset|clock_\w+|CLOCK_\w+|pthread_\w+)"),
    "asyncio": re.compile(r"(add_signal_handler|open_unix_connection|start_unix_server)"),
}
"""What Python's documentation says is there on Unix only, or on some of its kinds."""

POSIX_METHODS = frozenset({"add_signal_handler", "is_mount", "owner", "group", "hardlink_to", "symlink_to"})
"""Of event loops and paths: missing on Windows, or not allowed to everybody there."""

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def posix_only(source: str) -> Iterator[str]:
    """Yield what of a source Windows or macOS lacks, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"{node.lineno}: {each.name}" for each in node.names if each.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom):
            lacking = POSIX_NAMES.get(node.module or "")
            for name in (each.name for each in node.names):
                if node.module in POSIX_MODULES or (lacking is not None and lacking.fullmatch(name)):
                    yield f"{node.lineno}: {node.module}.{name}"
        elif isinstance(node, ast.Attribute):
            lacking = POSIX_NAMES.get(ast.unparse(node.value))
            if node.attr in POSIX_METHODS or (lacking is not None and lacking.fullmatch(node.attr)):
                yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Constant) and str(node.value).startswith(("/dev/", "/proc/", "/tmp")):  # noqa: S108
            yield f"{node.lineno}: {node.value!r}"
        elif isinstance(node, ast.Call) and not any(word.arg == "encoding" for word in node.keywords):
            yield from _in_the_local_encoding(node)


def _in_the_local_encoding(call: ast.Call) -> Iterator[str]:
    """Yield a call that reads or writes text in whatever encoding the system prefers: cp1252 on Windows."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    given = [each.value for each in call.args if isinstance(each, ast.Constant)]
    mode = next((value for value in given if isinstance(value, str) and set(value) <= set("rwabx+t")), "r")
    text = {"read_text": not call.args, "write_text": len(call.args) < 2, "open": "b" not in mode}
    if text.get(name, False) and ast.unparse(call.func) not in (
        "os.open",
        "Image.open",
        "PIL.Image.open",
        "av.open",
    ):
        yield f"{call.lineno}: {ast.unparse(call)} without an encoding"


def test_the_package_uses_nothing_that_windows_or_macos_lacks(root: Path) -> None:
    found = [
        f"{path.relative_to(root)}:{each}"
        for folder in FOLDERS.values()
        for path in sorted((root / folder).rglob("*.py"))
        for each in posix_only(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "def f():\n    from resource import getrusage",
        "from os import fork",
        "import os\nos.getuid()",
        "import os\nos.sched_getaffinity(0)",
        "import signal\nsignal.signal(signal.SIGALRM, f)",
        "loop.add_signal_handler(2, f)",
        "Path('a').symlink_to('b')",
        "open('/dev/null', 'wb')",
        "open('card.json')",
        "path.open('w')",
        "path.read_text()",
        "path.write_text(text)",
    ],
)
def test_what_is_of_posix_alone_is_found(source: str) -> None:
    assert len(list(posix_only(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.replace(a, b)\nos.getpid()\nos.cpu_count()\nos.open(os.devnull, os.O_WRONLY)",
        "import signal\nsignal.signal(signal.SIGTERM, signal.default_int_handler)",
        "path.open('rb')\nopen(p, encoding='utf-8')\nImage.open(stream)\nav.open(path)",
        "path.read_text('utf-8')\npath.read_text(encoding='utf-8')\npath.write_text(text, 'utf-8')",
    ],
)
def test_what_every_system_has_passes(source: str) -> None:
    assert list(posix_only(source)) == []


def test_every_file_of_the_tree_can_be_checked_out_on_windows(root: Path) -> None:
    places = [root / folder for folder in (*FOLDERS.values(), "docs", "examples", "scripts", "tests")]
    paths = [path.relative_to(root) for place in places for path in place.rglob("*")]
    wrong = [
        path for path in paths if re.search(r'[<>:"\\|?*]|[. ]$', path.name) or RESERVED.fullmatch(path.name)
    ]
    assert not wrong
    folded = Counter(PurePath(str(path).lower()) for path in paths)
    assert [path for path, count in folded.items() if count > 1] == []
