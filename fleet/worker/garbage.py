"""When does a worker look for garbage? Not while it starts: what it makes and imports then stays for ever.

The cyclic collector would look at all of that as it grows, once more before each fork, as Celery asks it to,
and then every so often while tasks run. So it rests at first, and then sets aside all that is there: nobody
looks at it again, and the children go on sharing its pages with the main process.
"""

import gc


def rest() -> None:
    """Look for no garbage until ``set_aside`` is called."""
    gc.disable()


def set_aside() -> None:
    """Take what is there for no garbage, ever, and look at what comes from now on."""
    gc.freeze()
    gc.enable()
