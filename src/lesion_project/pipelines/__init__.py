"""The pipelines, one package each.

Importing this package registers the split protocol and the reserved cases of ISIC 2018 and, unless the package
`lesion_segmentation.paper` was deleted, the protocols, copies and scores of the paper.
"""

from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.data.sources.isic2018 import ISIC2018, RESERVED_LIST, read_list
from lesion_segmentation.data.splits import PROTOCOLS, RESERVED_CASES

PROTOCOLS |= {"isic2018": ISIC2018}
RESERVED_CASES |= {"ISIC 2018": partial(read_list, RESERVED_LIST)}

_paper = find_spec("lesion_segmentation.paper")
HAS_PAPER = _paper is not None and _paper.origin is not None  # a folder with only stale bytecode has no origin
if HAS_PAPER:
    import lesion_segmentation.paper  # noqa: F401 (registers its names)


def in_namespace(namespace: str, nodes: Iterable[Node]) -> Pipeline:
    """Put nodes into a namespace such as reporting.page and tag them with its parts. Dataset names stay as they are."""
    return Pipeline(nodes, namespace=namespace, prefix_datasets_with_namespace=False, tags=namespace.split("."))
