"""
Records to JSON and back, exactly.

A codec is made from a dataclass or a union of dataclasses that carry a literal `type`; pydantic
reads their annotations and does the walking. What comes out is plain JSON (dict, list, str,
numbers, bool, None); what goes back in is the same record: tuples are tuples, nested unions find
their class by `type`. The store knows no record by name here, so any room can make a codec for a
union of its own.

Text that is not Unicode (half of a surrogate pair, as a model may split an emoji) is no JSON that
a database or a wire takes, so on the way in such a half becomes U+FFFD. It is the one change made.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Generic, TypeVar, Union, get_origin

from pydantic import Field, TypeAdapter, ValidationError

from sanderling.errors import SanderlingError

T = TypeVar("T")


class Codec(Generic[T]):
    """Reads and writes values of one dataclass, or of one union of dataclasses with `type`."""

    def __init__(self, kind: Any) -> None:
        """`kind`: the class or union itself, such as `Codec[Item](Item)`."""
        self._name = getattr(kind, "__name__", None) or "value"
        if get_origin(kind) in (Union, types.UnionType):
            kind = Annotated[kind, Field(discriminator="type")]
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def dumps(self, value: T) -> dict[str, Any]:
        """Return `value` as plain JSON; a number that is not finite becomes None."""
        dumped: dict[str, Any] = _unicode(self._adapter.dump_python(value, mode="json"))
        return dumped

    def loads(self, data: dict[str, Any]) -> T:
        """
        Return the value that `dumps` was given.

        Raises:
            SanderlingError: `data` is not such a value: the database was changed by other hands.
        """
        try:
            return self._adapter.validate_python(data)
        except ValidationError as error:
            places = ", ".join(".".join(map(str, e["loc"])) or "itself" for e in error.errors())
            raise SanderlingError(
                f"A stored {self._name} cannot be read; wrong are: {places}."
            ) from error


def _unicode(value: Any) -> Any:
    match value:
        case str():
            return value if value.isascii() else _whole(value)
        case dict():
            return {_unicode(key): _unicode(item) for key, item in value.items()}
        case list():
            return [_unicode(item) for item in value]
    return value


def _whole(text: str) -> str:
    """Return `text` with the two halves of a pair joined, and a half without the other replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
