"""What a container may be given of the network: at most what the operator's list has."""

from __future__ import annotations

from collections.abc import Sequence

from sanderling.errors import InvalidRequest
from sanderling.sandbox.egress import domains

_NAMED_MAX = 20  # of the operator's list, in an error


def check_domains(
    asked: Sequence[str], most: Sequence[str], *, param: str = "network_policy"
) -> tuple[str, ...]:
    """
    Return the domains that were asked for in the form they are compared in, each once.

    most: the operator's list; empty: no container has a network.

    Raises:
        InvalidRequest: one of them is no domain, or not on the list; says which.
    """
    if asked and not most:
        raise InvalidRequest(
            "Invalid value: 'allowlist'. Containers of this server have no network; the only "
            "supported value is 'disabled'.",
            param=f"{param}.type",
            code="invalid_value",
        )
    checked: list[str] = []
    for text in asked:
        try:
            domain = domains.pattern(text)
        except domains.NotADomain as error:
            raise _invalid(f"Invalid value: {error}", param) from error
        if not domains.covers(most, domain):
            named = ", ".join(most[:_NAMED_MAX])
            more = " and others" if len(most) > _NAMED_MAX else ""
            raise _invalid(
                f"Invalid value: '{domain}'. Containers of this server may reach at most: "
                f"{named}{more}.",
                param,
            )
        checked.append(domain)
    return tuple(dict.fromkeys(checked))


def _invalid(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=f"{param}.allowed_domains", code="invalid_value")
