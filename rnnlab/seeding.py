"""Random streams: every draw in rnnlab comes from a generator that is named, never from global state."""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """The Philox stream keyed by 128 bits of SHA-256(seed, purpose, step).

    Streams of different seeds, purposes ("train", "eval", "init.recurrent", ...) or steps do not
    overlap, and a stream needs no state to be resumed: it is made afresh for each step.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3 (Philox).
    """
    digest = hashlib.sha256(f"{seed}|{purpose}|{step}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
