"""`python -m lesion_project` is `kedro run` for the installed package and a folder `conf`."""

import sys
from pathlib import Path

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.extras import explain_missing_extras


def main() -> None:
    """Run the pipelines named on the command line."""
    try:
        with explain_missing_extras():
            from kedro.framework.project import configure_project

            from lesion_project.cli import run
    except InputError as error:
        sys.exit(f"Error: {error}")
    configure_project(Path(__file__).parent.name)
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
