"""A table that people wrote, as text."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["read_texts"]


def read_texts(path: Path) -> pd.DataFrame:
    """Rows of CSV, every value as it is written, empty where there is none.

    Raises:
        ValueError: no table, or rows of more values than the first row has names: by guessing
            which of them has no name, all would move to another column.
        OSError: it cannot be read.
    """
    import pandas as pd

    with warnings.catch_warnings():
        # Without an index pandas cuts such rows, and warns.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
        except pd.errors.ParserWarning as warning:
            raise ValueError(
                "rows have more values than the first row has names; a comma at the end of a row "
                "is one value more"
            ) from warning
        except pd.errors.ParserError as error:
            raise ValueError(" ".join(str(error).split())) from error  # which ends with a newline
