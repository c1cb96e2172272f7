"""Which columns of a frame tell its trials apart."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd


def varying(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Those of `columns` that hold more than one value in `frame`; missing (clipping off) is a value."""
    return [name for name in columns if frame[name].nunique(dropna=False) > 1]
