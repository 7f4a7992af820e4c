"""Tables that people wrote."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["read_columns", "read_texts"]


def read_columns(path: Path) -> pd.DataFrame:
    """Rows of Parquet by its columns alone, whatever it says of the index that pandas had of them.

    Raises:
        ValueError: no Parquet, or a damaged one.
        OSError: it cannot be read.
    """
    import pyarrow.parquet as pq

    table: pd.DataFrame = pq.read_table(path).to_pandas(ignore_metadata=True)
    return table


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
