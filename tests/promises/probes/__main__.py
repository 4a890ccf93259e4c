"""Print what every probe answers in boxes of the user who asks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from . import answer_all

print(json.dumps(asyncio.run(answer_all(Path(sys.argv[1])))))
