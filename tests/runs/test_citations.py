from __future__ import annotations

import dataclasses

import pytest

from sanderling.records import Artifact, CodeCallItem, ContainerFile, ImageOutput
from sanderling.runs.citations import annotate, mentions_files, uncited_artifacts


def file(path: str, id: str = "") -> ContainerFile:
    name = path.rsplit("/", 1)[-1]
    return ContainerFile(
        id=id or f"cfile_{name}",
        container_id="cntr_1",
        path=f"/mnt/data/{path}",
        bytes=1,
        created_at=0.0,
        source="assistant",
        blob_id="blob_1",
    )


def artifact(path: str) -> Artifact:
    f = file(path)
    return Artifact(f.id, f.container_id, f.path, path.rsplit("/", 1)[-1], f.bytes, f.created_at)


FILES = [
    file("chart.png"),
    file("chart.png.bak"),
    file("my sales (1).csv"),
    file("données.csv"),
    dataclasses.replace(file("my données.csv"), origin_id="file-1"),
    file("out/a.csv"),
    file("a"),
]


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("See [it](sandbox:/mnt/data/chart.png).", ["sandbox:/mnt/data/chart.png"]),
        ("See sandbox:/mnt/data/chart.png.", ["sandbox:/mnt/data/chart.png"]),
        ("sandbox:/mnt/data/chart.png", ["sandbox:/mnt/data/chart.png"]),
        ("在sandbox:/mnt/data/chart.png下载", ["sandbox:/mnt/data/chart.png"]),
        ("😀😀 [x](sandbox:/mnt/data/a) 😀", ["sandbox:/mnt/data/a"]),
        ("[x](sandbox:/mnt/data/chart.png.bak)", ["sandbox:/mnt/data/chart.png.bak"]),
        ("[x](sandbox:/mnt/data/my sales (1).csv)", ["sandbox:/mnt/data/my sales (1).csv"]),
        ("[x](sandbox:/mnt/data/my%20sales%20(1).csv)", ["sandbox:/mnt/data/my%20sales%20(1).csv"]),
        (
            "[x](sandbox:/mnt/data/my%20sales%20%281%29.csv)",
            ["sandbox:/mnt/data/my%20sales%20%281%29.csv"],
        ),
        ("[x](<sandbox:/mnt/data/my sales (1).csv>)", ["sandbox:/mnt/data/my sales (1).csv"]),
        ("[x](sandbox:/mnt/data/my%20données.csv)", ["sandbox:/mnt/data/my%20données.csv"]),
        (
            "[x](sandbox:/mnt/data/my%20donne\u0301es.csv)",
            ["sandbox:/mnt/data/my%20donne\u0301es.csv"],
        ),
        ("[x](sandbox:/mnt/data/file-1.csv)", ["sandbox:/mnt/data/file-1.csv"]),
        ("[x](sandbox:/mnt/data/file-1)", ["sandbox:/mnt/data/file-1"]),
        ("[x](sandbox:/mnt/data/file-1.png)", []),
        ("[x](sandbox:/mnt/data/donn%C3%A9es.csv)", ["sandbox:/mnt/data/donn%C3%A9es.csv"]),
        ("[x](sandbox:/mnt/data/données.csv)", ["sandbox:/mnt/data/données.csv"]),
        ("[x](sandbox:/mnt/data/out/a.csv)", ["sandbox:/mnt/data/out/a.csv"]),
        ("[x](sandbox:///mnt/data/chart.png)", ["sandbox:///mnt/data/chart.png"]),
        ("[x](/mnt/data/chart.png)", ["/mnt/data/chart.png"]),
        ("[x](</mnt/data/chart.png>)", ["/mnt/data/chart.png"]),
        ('[x](sandbox:/mnt/data/chart.png "title")', ["sandbox:/mnt/data/chart.png"]),
        ("`sandbox:/mnt/data/a`", ["sandbox:/mnt/data/a"]),
        (
            "sandbox:/mnt/data/a, sandbox:/mnt/data/a; sandbox:/mnt/data/chart.png",
            ["sandbox:/mnt/data/a", "sandbox:/mnt/data/a", "sandbox:/mnt/data/chart.png"],
        ),
        ("I read /mnt/data/chart.png.", []),
        ("[x](sandbox:/mnt/data/none.png)", []),
        ("[x](sandbox:/mnt/data/chart.png.gz)", []),
        ("[x](sandbox:/mnt/data/out)", []),
        ("[x](sandbox:/mnt/data/a/b)", []),
        ("[x](sandbox:/mnt/data/../chart.png)", []),
        ("[x](sandbox:/mnt/data/)", []),
        ("", []),
    ],
)
def test_citation_spans_exactly_the_link(text: str, cited: list[str]) -> None:
    citations = annotate(text, FILES, uncited=(), shown=set())

    assert [text[citation.start : citation.end] for citation in citations] == cited
    assert bool(cited) <= mentions_files(text)


def test_citation_says_which_file_it_is() -> None:
    [citation] = annotate("sandbox:/mnt/data/out/a.csv", FILES, uncited=(), shown=set())

    assert (citation.container_id, citation.file_id, citation.filename) == (
        "cntr_1",
        "cfile_a.csv",
        "a.csv",
    )


def test_unlinked_figures_come_first_then_links_then_other_unlinked_files() -> None:
    made = [artifact("out/a.csv"), artifact("chart.png"), artifact("a")]

    citations = annotate(
        "sandbox:/mnt/data/a", FILES, uncited=made, shown={"cfile_chart.png", "cfile_a"}
    )

    assert [(c.filename, c.start, c.end) for c in citations] == [
        ("chart.png", 0, 0),
        ("a", 0, 19),
        ("a.csv", 0, 0),
    ]


def test_artifact_that_is_gone_is_not_cited() -> None:
    assert annotate("", [], uncited=[artifact("chart.png")], shown=set()) == ()


def test_artifacts_of_code_calls_count_once_in_the_order_they_were_made() -> None:
    def call(*paths: str, shown: str = "") -> CodeCallItem:
        return CodeCallItem(
            id="ci_1",
            call_id="call_1",
            code="",
            container_id="cntr_1",
            status="completed",
            artifacts=tuple(map(artifact, paths)),
            outputs=(ImageOutput("data:", shown, ""),) if shown else (),
        )

    artifacts, shown = uncited_artifacts([call("a", "b"), call("b", "c", shown="cfile_c")])

    assert [a.filename for a in artifacts] == ["a", "b", "c"]
    assert shown == {"cfile_c"}


def test_what_reads_the_same_is_told_apart_where_it_is_written_out():
    one, two = file("é.csv"), file("e\u0301.csv")
    for name, cited in (("é.csv", one), ("e\u0301.csv", two)):
        for files in ([one, two], [two, one]):
            (citation,) = annotate(f"sandbox:/mnt/data/{name}", files, uncited=(), shown=set())
            assert citation.file_id == cited.id


def test_a_file_that_was_deleted_later_is_not_cited():
    made = CodeCallItem("ci_1", "call_1", "", "cntr_1", "completed", artifacts=(artifact("a"),))
    gone = dataclasses.replace(artifact("a"), change="deleted")
    item = CodeCallItem("ci_2", "call_2", "", "cntr_1", "completed", artifacts=(gone,))

    assert uncited_artifacts([made, item]) == ((), set())
