"""How hypothesis behaves here, and what keeps two thousand small tests fast."""

import gc

from hypothesis import HealthCheck, Phase, settings

#: A busy machine is no failure. Whoever asks for the quick one is told at once what is wrong, and looks for
#: its least example with the thorough one, which remembers what it found.
settings.register_profile("thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "quick",
    settings.get_profile("thorough"),
    max_examples=8,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
settings.load_profile("quick")


def pytest_collection_finish() -> None:
    """Take what was collected out of the sight of the garbage collector: it stays until the end."""
    gc.collect()
    gc.freeze()
