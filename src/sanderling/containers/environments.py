"""Which guest environment a container gets: one that the operator made, by its name."""

from __future__ import annotations

from sanderling.environments.catalog import Catalog
from sanderling.errors import InvalidRequest

_NAMED_MAX = 20  # of those there are, in an error


def check_environment(asked: str | None, there: Catalog, usual: str, *, param: str) -> str:
    """
    Return the name of the environment that a container gets which asks for `asked`.

    usual: of containers that ask for none.

    Raises:
        InvalidRequest: there is none of that name; says which there are.
    """
    name = usual if asked is None else asked
    if there.has(name):
        return name
    names = there.names()
    named = ", ".join(repr(each) for each in names[:_NAMED_MAX])
    more = " and others" if len(names) > _NAMED_MAX else ""
    raise InvalidRequest(
        f"Invalid value: '{name}'. Environments of this server are: {named}{more}.",
        param=param,
        code="invalid_value",
    )
