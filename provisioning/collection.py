"""How does a plan of many objects get by without the garbage collector?

A plan makes hundreds of thousands of small tuples and keeps most of them. The cyclic collector looks at all
that is kept again and again as it grows, which took half of the time of planning 50,000 objects, and finds
nothing: none of them point back. So it rests meanwhile. What is no longer referred to is freed all the same.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
#: how many wish that it rests, in whatever threads
_resting = 0
#: whether it goes on once nobody does
_resumes = False


@contextmanager
def collector_resting() -> Iterator[None]:
    """Let the cyclic garbage collector rest in this block, and in all that overlap with it.

    The collector is the process's, so the first that comes stops it, and the last that goes lets it go on, if
    it did before.
    """
    global _resting, _resumes
    with _lock:
        if _resting == 0:
            _resumes = gc.isenabled()
            gc.disable()
        _resting += 1
    try:
        yield
    finally:
        with _lock:
            _resting -= 1
            if _resting == 0 and _resumes:
                gc.enable()
