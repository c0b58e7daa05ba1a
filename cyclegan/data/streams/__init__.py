"""Training pictures that are read one after the other, from tars, tables or the Hub, and never kept whole.

`open_stream` finds them, `StreamedData` makes batches of them.
"""

from __future__ import annotations

from cyclegan.data.streams.find import open_stream
from cyclegan.data.streams.loader import StreamedData
from cyclegan.data.streams.sources import Streamed

__all__ = ["Streamed", "StreamedData", "open_stream"]
