"""
The network policy of a container, as clients ask for it and see it.

Source: OpenAI API reference, "Create container", `network_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from sanderling.api.validation import RequestModel
from sanderling.errors import InvalidRequest

# All of them travel in one message to the sandbox host; nobody needs as many.
DOMAINS_MAX = 100


class NetworkPolicy(RequestModel):
    type: Literal["disabled", "allowlist"]
    allowed_domains: Annotated[list[str], Field(max_length=DOMAINS_MAX)] | None = None
    domain_secrets: list[Any] | None = None


def asked_domains(policy: NetworkPolicy | None, param: str) -> tuple[str, ...]:
    """
    Return the domains that a policy asks for, as they were written; none: no network.

    param: the name of the policy in the request.

    Raises:
        InvalidRequest: an allowlist without domains, or with what this server does not offer.
    """
    if policy is None or policy.type == "disabled":
        return ()
    if policy.domain_secrets:
        raise InvalidRequest(
            "Domain secrets are not supported by this server.",
            param=f"{param}.domain_secrets",
            code="invalid_value",
        )
    if not policy.allowed_domains:
        raise InvalidRequest(
            f"Missing required parameter: '{param}.allowed_domains'.",
            param=f"{param}.allowed_domains",
            code="missing_required_parameter",
        )
    return tuple(policy.allowed_domains)


def policy_object(allowed_domains: Sequence[str]) -> dict[str, Any]:
    """Return the policy as clients see it."""
    if not allowed_domains:
        return {"type": "disabled", "allowed_domains": None}
    return {"type": "allowlist", "allowed_domains": list(allowed_domains)}
