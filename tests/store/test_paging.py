from __future__ import annotations

import pytest

from sanderling.errors import InvalidRequest
from sanderling.store.paging import Page
from tests.store.makers import make_container, make_file, make_message, make_run


@pytest.fixture
async def names(store):
    """Seven files; c, d and e were created at the same instant, in that order."""
    for name, at in zip("abcdefg", [1, 2, 3, 3, 3, 4, 5], strict=True):
        await store.files.insert(make_file(id=f"file-{name}", created_at=float(at)))
    await store.files.insert(make_file(id="file-other", organization_id="org_b"))

    async def read(limit, order, after=None, before=None):
        cursors = [None if name is None else f"file-{name}" for name in (after, before)]
        page = Page(limit, order, *cursors)
        listing = await store.files.page("org_a", page=page)
        return "".join(f.id[-1] for f in listing.data), listing.has_more

    return read


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((3, "asc"), ("abc", True)),
        ((7, "asc"), ("abcdefg", False)),
        ((6, "asc"), ("abcdef", True)),
        ((3, "desc"), ("gfe", True)),
        ((3, "asc", "c"), ("def", True)),
        ((4, "asc", "c"), ("defg", False)),
        ((3, "desc", "d"), ("cba", False)),
        ((2, "desc", "e"), ("dc", True)),
        ((9, "asc", "g"), ("", False)),
        # Before: the rows nearest to the cursor, in the list's own order.
        ((2, "asc", None, "e"), ("cd", True)),
        ((4, "asc", None, "e"), ("abcd", False)),
        ((2, "desc", None, "c"), ("ed", True)),
        ((4, "desc", None, "c"), ("gfed", False)),
        ((3, "asc", None, "a"), ("", False)),
        # Both: what lies between, read from `after` on.
        ((9, "asc", "b", "f"), ("cde", False)),
        ((2, "asc", "b", "f"), ("cd", True)),
        ((9, "desc", "f", "b"), ("edc", False)),
    ],
)
async def test_a_page_holds_exactly_its_rows_and_tells_whether_there_are_more(
    names, arguments, expected
):
    assert await names(*arguments) == expected


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_walking_forward_and_back_meets_every_row_once(names, order, limit):
    there, more, cursor = "", True, None
    while more:
        some, more = await names(limit, order, cursor)
        there, cursor = there + some, some[-1]
    back, more = there[-1], True
    while more:
        some, more = await names(limit, order, None, back[0])
        back = some + back

    assert there == ("abcdefg" if order == "asc" else "gfedcba")
    assert back == there


@pytest.mark.parametrize("param", ["after", "before"])
@pytest.mark.parametrize("cursor", ["file-none", "file-other", ""])
async def test_a_cursor_that_is_not_in_the_list_is_refused_by_name(store, names, param, cursor):
    with pytest.raises(InvalidRequest) as caught:
        await store.files.page("org_a", page=Page(**{param: cursor}))

    assert caught.value.param == param


async def test_a_cursor_may_name_a_row_that_the_filter_hides(store):
    await store.files.insert(make_file(id="file-a", purpose="vision", created_at=1.0))
    await store.files.insert(make_file(id="file-b", purpose="user_data", created_at=2.0))

    listing = await store.files.page(
        "org_a", purpose="user_data", page=Page(5, "asc", after="file-a")
    )

    assert [file.id for file in listing.data] == ["file-b"]


async def test_a_deleted_container_is_no_cursor(store):
    gone = make_container()
    await store.containers.insert(gone)
    await store.containers.set_status(gone.id, "deleted")

    with pytest.raises(InvalidRequest):
        await store.containers.page("org_a", Page(after=gone.id))


async def test_input_items_are_paged_by_their_place_even_when_one_stands_twice(store):
    items = [make_message(text, id=f"msg_{text}") for text in "abac"]
    run = make_run()
    await store.runs.insert(run, items)

    first = await store.runs.page_input(run.id, Page(2, "asc"))
    rest = await store.runs.page_input(run.id, Page(9, "asc", after="msg_b"))
    last = await store.runs.page_input(run.id, Page(1, "desc"))

    assert (first.data, first.has_more) == (items[:2], True)
    assert (rest.data, rest.has_more) == (items[2:], False)
    assert (last.data, last.has_more) == (items[3:], True)
