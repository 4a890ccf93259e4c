"""
Write `sandbox/wall/syscall_numbers.py` from the kernel headers of this machine.

Run it on x86_64 with `linux-libc-dev` installed; aarch64's numbers are those of asm-generic.
Calls newer than the headers are listed by hand below: from 424 on they are the same everywhere.
"""

from __future__ import annotations

import re
from pathlib import Path

X86_64 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
GENERIC = Path("/usr/include/asm-generic/unistd.h")
TARGET = Path(__file__).parents[1] / "src/sanderling/sandbox/wall/syscall_numbers.py"
NEWER = {"cachestat": 451, "fchmodat2": 452, "futex_wake": 454, "futex_wait": 455, "mseal": 462}
# In asm-generic some calls are written as __NR3264_*; on 64 bits they carry these names.
GENERIC_NAMES = {"fstatat": "newfstatat", "fstat": "fstat", "fadvise64": "fadvise64"}


def numbers(header: Path) -> dict[str, int]:
    """Return name → number of every call the header defines outside its 32-bit sections."""
    found: dict[str, int] = {}
    for match in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\n", header.read_text()):
        name = GENERIC_NAMES.get(match[1], match[1]) if "3264" in match[0] else match[1]
        # 32-bit variants share a number with the call this machine has, or are none of its calls.
        if int(match[2]) not in found.values() and not name.endswith(("time64", "syscalls")):
            found.setdefault(name, int(match[2]))
    return found | {name: number for name, number in NEWER.items() if name not in found}


def main() -> None:
    lines = [
        '"""System call numbers by architecture; written by tools/make_syscall_table.py."""',
        "",
        "NUMBERS: dict[str, dict[str, int]] = {",
    ]
    for machine, header in (("x86_64", X86_64), ("aarch64", GENERIC)):
        lines.append(f'    "{machine}": {{')
        table = numbers(header)
        lines += [f'        "{name}": {table[name]},' for name in sorted(table)]
        lines.append("    },")
    TARGET.write_text("\n".join([*lines, "}", ""]))


if __name__ == "__main__":
    main()
