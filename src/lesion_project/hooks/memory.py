"""Hook that gives freed memory back to the operating system."""

import ctypes
from contextlib import suppress

from kedro.framework.hooks import hook_impl


class MemoryHooks:
    """Gives the memory that earlier nodes have freed back to the operating system before each node.

    glibc keeps it otherwise, in arenas that other threads cannot reuse. Other C libraries are left as they are.
    """

    @hook_impl
    def before_node_run(self) -> None:
        with suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
