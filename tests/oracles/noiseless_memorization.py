"""Noiseless memorisation, recomputed from its inputs: the symbols again, from one step after the cue on."""

from oracles import Known
from oracles.copy import blind, changed, recalled
from rnnlab.tasks.noiseless_memorization import NoiselessMemorization

KNOWN = Known(
    recalled,
    changed,
    blind,
    settings=[
        NoiselessMemorization(),
        NoiselessMemorization(delay=1, symbols=1, alphabet=3),
        NoiselessMemorization(delay=4, symbols=3, score="recall"),
        NoiselessMemorization(delay=3, symbols=10, alphabet=5, patterns="random"),
    ],
    short={"delay": 3, "symbols": 2},
    long={"delay": 110},
)
