"""
From links in a text, and files nobody linked, to citations.

Models point at files as `sandbox:/mnt/data/chart.png`. A citation spans exactly that text, counted
in code points, so that clients can put a real link in its place. Models also forget to link what
they made; such files are cited at 0, 0, so that no artifact is ever lost to the client.

Order, as OpenAI's: pictures that nobody linked, then the links as they stand in the text, then
other files that nobody linked. Only files that exist are cited.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from sanderling.containers.aliases import by_id, extensions
from sanderling.containers.names import MOUNT
from sanderling.records import Artifact, Citation, CodeCallItem, ContainerFile, ImageOutput, Item

# A scheme makes a link anywhere; a bare path is one only where Markdown says so.
_LINK = re.compile(r"sandbox:/{1,3}mnt/data/|(?<=\]\()<?/mnt/data/")
# A name goes on after a match: `/mnt/data/a.csv` must not be found in `/mnt/data/a.csv.gz`. ASCII
# only, because in scripts without spaces a word may stand right after a link.
_GOES_ON = re.compile(r"[A-Za-z0-9_/-]|[.~%+][A-Za-z0-9_-]")


def mentions_files(text: str) -> bool:
    """Return whether `text` may link a container file at all."""
    return _LINK.search(text) is not None


def annotate(
    text: str, files: Sequence[ContainerFile], *, uncited: Sequence[Artifact], shown: set[str]
) -> tuple[Citation, ...]:
    """
    Return the citations of a message.

    Args:
        files: the files that exist in the container now.
        uncited: artifacts to cite at 0, 0 if `text` does not link them; () for all but the last
            message of a run.
        shown: file ids of pictures that were shown.
    """
    existing = {file.id for file in files}
    links = list(_links(text, files))
    linked = {citation.file_id for citation in links}
    left = [a for a in uncited if a.file_id in existing and a.file_id not in linked]
    figures = [_unlinked(a) for a in left if a.file_id in shown]
    others = [_unlinked(a) for a in left if a.file_id not in shown]
    return (*figures, *links, *others)


def uncited_artifacts(items: Iterable[Item]) -> tuple[tuple[Artifact, ...], set[str]]:
    """
    Return the artifacts of the code calls among `items`, each once and newest last, and the ids
    of those that were shown as pictures.
    """
    artifacts: dict[str, Artifact] = {}
    shown: set[str] = set()
    for item in items:
        if isinstance(item, CodeCallItem):
            note_artifacts(item, artifacts, shown)
    return tuple(artifacts.values()), shown


def note_artifacts(item: CodeCallItem, artifacts: dict[str, Artifact], shown: set[str]) -> None:
    """Take what a cell did to files into those that are to be cited, and what it showed."""
    for artifact in item.artifacts:
        artifacts.pop(artifact.file_id, None)
        if artifact.change != "deleted":
            artifacts[artifact.file_id] = artifact
    shown |= {o.file_id for o in item.outputs if isinstance(o, ImageOutput)}


def _links(text: str, files: Sequence[ContainerFile]) -> Iterator[Citation]:
    spellings: list[tuple[str, ContainerFile]] | None = None
    for match in _LINK.finditer(text):
        if spellings is None:
            spellings = _spellings(files)
        for spelling, file in spellings:
            end = match.end() + len(spelling)
            if text.startswith(spelling, match.end()) and not _GOES_ON.match(text, end):
                start = match.start() + (text[match.start()] == "<")
                yield _cite(file, start, end)
                break


def _spellings(files: Sequence[ContainerFile]) -> list[tuple[str, ContainerFile]]:
    """
    Return how each file may be written after `/mnt/data/`, longest first: by its name or by an id,
    plain or escaped, and with an é of one character for one of two, or the other way round.
    """
    found: dict[str, ContainerFile] = {}
    # Names before ids and a name itself before what reads the same, wherever two files meet.
    for form in (None, "NFC", "NFD"):
        for file in files:
            name = file.path.removeprefix(MOUNT + "/")
            if form is not None:
                if name.isascii():
                    continue
                name = unicodedata.normalize(form, name)
            for spelling in _written(name):
                found.setdefault(spelling, file)
    for file_id, file in by_id(files).items():
        for extension in ("", *extensions(file.path)):
            found.setdefault(file_id + extension, file)
    return sorted(found.items(), key=lambda pair: len(pair[0]), reverse=True)


def _written(name: str) -> tuple[str, ...]:
    """Return how a name is written: as in a URL, less strictly, with %20 for spaces, plain."""
    return quote(name), quote(name, safe="/()!*',;:@&=+$"), name.replace(" ", "%20"), name


def _cite(file: ContainerFile, start: int, end: int) -> Citation:
    return Citation(
        container_id=file.container_id,
        file_id=file.id,
        filename=file.path.rsplit("/", 1)[1],
        start=start,
        end=end,
    )


def _unlinked(artifact: Artifact) -> Citation:
    return Citation(
        container_id=artifact.container_id,
        file_id=artifact.file_id,
        filename=artifact.filename,
        start=0,
        end=0,
    )
