"""A record as a table's row: values with a column of their own there, all others in `record`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from sqlalchemy import RowMapping, Table

from sanderling.store.codec import Codec

T = TypeVar("T")


class Rows(Generic[T]):
    """Turns records of one class into rows of one table and back."""

    def __init__(self, table: Table, kind: type[T]) -> None:
        self._codec = Codec[T](kind)
        self._columns = [c.name for c in table.columns if c.name not in ("sequence", "record")]

    def encode(self, record: T) -> dict[str, Any]:
        rest = self._codec.dumps(record)
        columns = {name: rest.pop(name) for name in self._columns}
        return {**columns, "record": rest}

    def decode(self, row: RowMapping) -> T:
        return self._codec.loads({**row["record"], **{name: row[name] for name in self._columns}})
