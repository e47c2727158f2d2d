"""Optional dependencies: a missing package is reported with the command that installs it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires

from lesion_segmentation.core.errors import InputError

DISTRIBUTION = "lesion-segmentation"
OTHER_NAMES = {"PIL": "pillow", "SimpleITK": "simpleitk", "markdown_it": "markdown-it-py", "skimage": "scikit-image",
               "sklearn": "scikit-learn", "yaml": "pyyaml"}  # fmt: skip
"""Import names that are not the distribution's name with `-` replaced by `_`."""


@contextmanager
def explain_missing_extras() -> Iterator[None]:
    """Turn the failed import of a package of an extra into an InputError with the command that installs it."""
    try:
        yield
    except ImportError as error:
        # fsspec names the missing package only in the cause of its own ImportError.
        for cause in (error, error.__cause__):
            if isinstance(cause, ModuleNotFoundError) and (extra := find_extra(cause.name or "")):
                raise InputError(
                    f"The package {distribution_of(cause.name or '')} is not installed. Install the extra {extra}: "
                    f"pip install '{DISTRIBUTION}[{extra}]'"
                ) from error
        raise


def require(*modules: str) -> None:
    """Import modules of extras, so that a missing package raises an InputError before any work begins."""
    with explain_missing_extras():
        for module in modules:
            import_module(module)


def find_extra(module: str) -> str | None:
    """Return the first extra in the installed metadata that requires this top-level module, or None."""
    with suppress(PackageNotFoundError):  # the source may be on the path without being installed
        for requirement in requires(DISTRIBUTION) or []:
            found = re.match(r"([\w.-]+).*\bextra == [\"']([\w-]+)", requirement)
            if found and found[1].lower() == distribution_of(module):
                return found[2]
    return None


def distribution_of(module: str) -> str:
    """Return the name of the distribution that installs this top-level module."""
    return OTHER_NAMES.get(module, module.replace("_", "-"))
