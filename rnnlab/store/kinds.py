"""The kinds of store: each is one module with the functions below."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from rnnlab.store import POSTGRES, SERVER, SQLITE, Place, postgres, server, sqlite
from rnnlab.store.rows import Rows


class Kind(Protocol):
    """What a module of a kind of store can do."""

    def exists(self, place: Place) -> bool:
        """Whether there is something to read; where that takes a connection, `check_usable` has told."""

    def check_usable(self, place: Place) -> None:
        """Raise `BadInput` unless a store can be written at `place`; change nothing."""

    def check_readable(self, place: Place) -> None:
        """Raise `BadInput` unless a store can be read at `place`; change nothing."""

    def rows(self, place: Place) -> AbstractContextManager[Rows]:
        """One look at the store; raises `Unreachable` where it no longer answers."""

    def preparing(self, place: Place) -> AbstractContextManager[None]:
        """Within, MLflow's first client of the store is made; the store is as we need it afterwards."""

    def wait(self, place: Place) -> None:
        """Return when this process can write."""

    def settle(self, place: Place) -> None:
        """What is to be done when a writer has written its last."""


KINDS: Mapping[str, Kind] = {SQLITE: sqlite, POSTGRES: postgres, SERVER: server}


def kind_of(place: Place) -> Kind:
    """The functions for a store."""
    return KINDS[place.kind]
