"""What runs: one folder a pipeline.

The paper's protocols, copies and scores are known by name once this package was imported, unless somebody who needs no
paper has deleted its room.
"""

from importlib.util import find_spec

_paper = find_spec("lesion_segmentation.paper")
HAS_PAPER = _paper is not None and _paper.origin is not None  # a folder with old bytecode alone has no origin
if HAS_PAPER:
    import lesion_segmentation.paper  # noqa: F401 (it makes its names known)
