"""`rlrestore serve`: a page and an HTTP interface that restore photographs."""

import argparse
import importlib

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import add_precision_argument, positive_float, positive_int
from rlrestore.cli.reporting import say, show_log
from rlrestore.errors import UsageError, how_to_install

DESCRIPTION = """\
Serve a page on which photographs are restored, and the same by HTTP: POST
/api/restore, described at /docs. Nothing leaves this machine, and nobody else
reaches the server unless --host says so. It needs the extra serve.
"""
EPILOG = """\
There is no password: whoever reaches the address may use the server. Ctrl-C and
SIGTERM let it finish what is running. Exit codes: 0 ended so, 2 wrong usage, a
port in use among it.
"""
HIGHEST_PORT = 65535


def port_number(text: str) -> int:
    """Read the number of a port; 0 is any that is free."""
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to {HIGHEST_PORT}, got {text!r}")
    return int(text)


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="restore photographs on a page, or by HTTP",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen; 0.0.0.0 lets the whole network in (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument(
        "--port", type=port_number, default=8000, metavar="N", help="0 for any that is free (default: 8000)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that the server is reached by, as nas.local; may be repeated",
    )
    parser.add_argument(
        "--model", default="default", metavar="M", help="name or folder (default: the shipped one)"
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, mps (default: cpu)")
    add_precision_argument(parser)
    _add_bounds(parser)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    bounds = parser.add_argument_group("bounds")
    bounds.add_argument(
        "--workers", type=positive_int, default=1, metavar="N", help="photographs at a time (default: 1)"
    )
    bounds.add_argument(
        "--max-megabytes", type=positive_float, default=100, metavar="MB", help="of one upload (default: 100)"
    )
    bounds.add_argument(
        "--max-megapixels",
        type=positive_float,
        default=50,
        metavar="MP",
        help="of one photograph (default: 50)",
    )
    bounds.add_argument(
        "--max-waiting", type=positive_int, default=16, metavar="N", help="requests that wait (default: 16)"
    )
    bounds.add_argument(
        "--timeout", type=positive_float, default=600, metavar="S", help="of one request (default: 600)"
    )
    bounds.add_argument(
        "--keep-megabytes",
        type=positive_float,
        default=2048,
        metavar="MB",
        help="of results that are kept for the page, for an hour at most (default: 2048)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop.

    Raises:
        UsageError: The extra is not installed, the port is in use, or there is no such model.
    """
    try:
        importlib.import_module("python_multipart")  # which the others load only when a form comes
        from rlrestore.serve.running import listen, serve, url
    except ImportError as error:
        raise UsageError(
            f"expected what serve needs, but {error.name} is missing; {how_to_install('serve')}"
        ) from error
    from rlrestore.restorer import Restorer
    from rlrestore.serve.app import create_app
    from rlrestore.serve.bounds import Bounds

    listening = listen(args.host, args.port)
    with listening:
        restorer = Restorer.from_pretrained(args.model, args.device, args.precision)
        bounds = Bounds(
            megabytes=args.max_megabytes,
            megapixels=args.max_megapixels,
            waiting=args.max_waiting,
            workers=args.workers,
            seconds=args.timeout,
            kept_megabytes=args.keep_megabytes,
        )
        show_log()
        app = create_app(restorer, bounds, args.host, args.allow_host)
        print(f"rlrestore serves on {url(listening)} (Ctrl-C ends it)", flush=True)
        serve(app, listening)
    say("finished what was running, and ended")
    return 0
