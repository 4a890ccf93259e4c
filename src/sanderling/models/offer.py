"""What one turn may call, and by which names models call it."""

from __future__ import annotations

from dataclasses import dataclass

from sanderling.models.base import CODE_TOOL_NAME, TurnRequest

# What models call the code tool when they do not keep to the name they were given.
_CODE_NAMES = frozenset(
    {CODE_TOOL_NAME, "code_interpreter", "ipython", "python_interpreter", "execute_python"}
    | {"run_python", "python_tool"}
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a turn may call, and whether calls are looked for in its text."""

    code: bool = False
    functions: frozenset[str] = frozenset()
    # Functions that may be called without any argument, so that empty arguments are no fault.
    bare_functions: frozenset[str] = frozenset()
    text_calls: bool = False

    @staticmethod
    def of(request: TurnRequest, *, text_calls: bool = False) -> Offer:
        """Return what `request` offers."""
        schemas = {
            str(tool["function"]["name"]): tool["function"].get("parameters") or {}
            for tool in request.functions
        }
        return Offer(
            code=request.offers_code,
            functions=frozenset(schemas),
            bare_functions=frozenset(n for n, s in schemas.items() if not s.get("required")),
            text_calls=text_calls,
        )

    def resolve(self, name: str, arguments: str) -> tuple[str, bool]:
        """Return the name a call goes by, and whether it is the code tool."""
        if not name and self.code and (not self.functions or '"code"' in arguments):
            return CODE_TOOL_NAME, True
        if not name and not self.code and len(self.functions) == 1:
            return next(iter(self.functions)), False
        bare = name.removeprefix("functions.").strip().lower()
        if self.code and name not in self.functions and bare in _CODE_NAMES:
            return CODE_TOOL_NAME, True
        return name, False
