"""Run the command line: `python -m lesion_segmentation`."""

from lesion_segmentation.cli import main

if __name__ == "__main__":
    main()
