"""Property tests draw the same examples on every machine, and have no deadline on the clock."""

from hypothesis import settings

settings.register_profile("rnnlab", derandomize=True, deadline=None)
settings.load_profile("rnnlab")

pytest_plugins = ["stores", "servers"]
