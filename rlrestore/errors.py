"""Errors meant for a person: each says what was expected, what came, and what to do."""

ONNX_DISTRIBUTION = "rlrestore-onnx"


def how_to_install(extra: str = "") -> str:
    """Return what installs an extra of this program, or without one all that its main distribution needs."""
    from importlib.metadata import PackageNotFoundError, metadata  # it takes long to load

    try:
        offered = metadata(ONNX_DISTRIBUTION).get_all("Provides-Extra") or []
    except PackageNotFoundError:
        offered = []
    if extra in offered:
        return f"pip install '{ONNX_DISTRIBUTION}[{extra}]'"
    source = f"'.[{extra}]'" if extra else "."
    return f"pip install -c constraints.txt {source} in the folder of rlrestore's source"


class RlrestoreError(Exception):
    """A job that failed for a reason the user can understand. The command line prints it and exits 1."""


class UsageError(RlrestoreError):
    """A request that cannot be carried out as it was put. The command line prints it and exits 2."""


class ImageError(RlrestoreError):
    """An image file that cannot be read or written."""


class ModelError(UsageError):
    """A model folder that is incomplete, altered, or made for something else."""


class DataError(UsageError):
    """A data folder in which there is nothing to work on."""


class CancelledRestorationError(RlrestoreError):
    """Somebody ended a restoration early."""
