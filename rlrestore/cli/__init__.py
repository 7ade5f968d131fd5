"""The command line, one file per subcommand. Nothing here imports torch before a command runs."""

import argparse
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a subcommand adds its parser."""
