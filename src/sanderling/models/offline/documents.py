"""Rules for documents: the text of PDF, Word and web pages is extracted, counted, converted."""

from __future__ import annotations

import re

from sanderling.models.offline.plan import Plan, Shown, join, listing, render

_READERS = {
    "pdf": """
        from pypdf import PdfReader

        pages = [page.extract_text() or "" for page in PdfReader(@path@).pages]
        print("pages:", len(pages))
        text = "\\n".join(pages)
    """,
    "docx": """
        import re
        import zipfile

        with zipfile.ZipFile(@path@) as document:
            xml = document.read("word/document.xml").decode("utf-8")
        paragraphs = [re.sub(r"<[^>]+>", "", part) for part in re.split(r"</w:p>", xml)]
        text = "\\n".join(paragraph for paragraph in paragraphs if paragraph.strip())
    """,
    "html": """
        import html
        import re
        from pathlib import Path

        source = Path(@path@).read_text(encoding="utf-8", errors="replace")
        source = re.sub(r"(?is)<(script|style).*?</\\1>", " ", source)
        text = html.unescape(re.sub(r"<[^>]+>", " ", source))
    """,
    "text": """
        from pathlib import Path

        raw = Path(@path@).read_bytes()
        encoding = "utf-16" if raw[:2] in (b"\\xff\\xfe", b"\\xfe\\xff") else "utf-8-sig"
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
    """,
    "zip": """
        import zipfile

        with zipfile.ZipFile(@path@) as archive:
            members = archive.infolist()
        print("members:", len(members))
        for member in members[:50]:
            print(f"  {member.filename}: {member.file_size} bytes")
        text = ""
    """,
    "tar": """
        import tarfile

        with tarfile.open(@path@) as archive:
            members = archive.getmembers()
        print("members:", len(members))
        for member in members[:50]:
            print(f"  {member.name}: {member.size} bytes")
        text = ""
    """,
}
_TEXT_KINDS = frozenset(
    "txt md rst log tex py js ts css sh c h cpp cs java php rb xml yaml yml toml ini sql".split()
)
_KINDS = dict.fromkeys(_TEXT_KINDS, "text") | {
    "pdf": "pdf",
    "docx": "docx",
    "html": "html",
    "htm": "html",
    "zip": "zip",
    "tar": "tar",
    "gz": "tar",
    "tgz": "tar",
}
_COUNT = """
    import collections
    import re

    words = re.findall(r"[^\\W\\d_]+(?:['’-][^\\W\\d_]+)*", text)
    common = collections.Counter(word.lower() for word in words if len(word) > 4).most_common(10)
    print("lines:", len(text.splitlines()))
    print("words:", len(words))
    print("characters:", len(text))
    if common:
        print("most frequent words:", ", ".join(f"{word} ({n})" for word, n in common))
    first = " ".join(text.split())[:300]
    print("begins with:", first or "(no text)")
"""
_TO_CSV = """
    import csv
    import re

    # Columns are what stands apart by a tab or at least two spaces, else by single spaces.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rows = [re.split(r"\\t|\\s{2,}", line) for line in lines]
    if max((len(row) for row in rows), default=0) < 2:
        rows = [re.split(r"\\s*[,;|]\\s*|\\s+", line) for line in lines]
    with open(@path@, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    print("rows:", len(rows))
    print("columns:", max((len(row) for row in rows), default=0))
    print("saved:", @path@)
"""
_TO_TEXT = """
    from pathlib import Path

    Path(@path@).write_text(text, encoding="utf-8")
    print("saved:", @path@)
"""
_LOOK = """
    import hashlib
    from pathlib import Path

    raw = Path(@path@).read_bytes()
    print("size:", f"{len(raw)} bytes")
    print("first bytes:", raw[:16].hex(" "))
    print("SHA-256:", hashlib.sha256(raw).hexdigest())
"""


def about_document(question: str, name: str, target: str | None) -> Plan:
    """Extract the text of a document and count it; write it as CSV or text where that is asked."""
    kind = name.rsplit(".", 1)[-1].lower()
    path = f"/mnt/data/{name}"
    if kind not in _KINDS:
        return Plan(
            render(_LOOK, path=path),
            lambda shown: _tell(shown, f"I do not know the kind of {name}."),
        )
    reading = render(_READERS[_KINDS[kind]], path=path)
    if _KINDS[kind] in {"zip", "tar"}:
        return Plan(
            reading,
            lambda shown: join(f"{name} holds:", listing(shown.under("members") or shown.facts)),
        )
    stem = name.rsplit(".", 1)[0]
    if re.search(r"\b(?:to|into|as)\s+(?:an?\s+)?csv\b", question, re.IGNORECASE):
        code = reading + "\n" + render(_TO_CSV, path=f"/mnt/data/{target or stem + '.csv'}")
        return Plan(code, lambda shown: _tell(shown, f"I took the table out of {name}."))
    if re.search(
        r"\b(?:to|into|as)\s+(?:an?\s+)?(?:plain )?te?xt\b|extract (?:the |all )*text",
        question,
        re.IGNORECASE,
    ):
        code = (
            reading
            + "\n"
            + render(_COUNT)
            + render(_TO_TEXT, path=f"/mnt/data/{target or stem + '.txt'}")
        )
        return Plan(code, lambda shown: _tell(shown, f"I extracted the text of {name}."))
    return Plan(
        reading + "\n" + render(_COUNT),
        lambda shown: _tell(shown, f"What I could count in {name}:"),
    )


def _tell(shown: Shown, lead: str) -> str:
    return join(lead, listing({k: v for k, v in shown.facts.items() if k != "saved"}), shown.links)
