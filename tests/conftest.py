"""Property tests draw the same examples on every machine, and have no deadline on the clock; torch has one thread.

Tests multiply small matrices: a second thread only costs them time.
"""

import torch
from hypothesis import settings

settings.register_profile("rnnlab", derandomize=True, deadline=None)
settings.load_profile("rnnlab")

torch.set_num_threads(1)

pytest_plugins = ["stores", "servers", "folders"]
