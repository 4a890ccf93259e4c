from __future__ import annotations

import re

from sanderling.store.keys import digest_of, new_key


async def test_a_key_is_found_by_its_digest_until_it_is_revoked(store, clock):
    plain, key = new_key("laptop", "org_a", now=5.0)
    await store.keys.insert(key)
    clock.at = 77.0

    assert await store.keys.admit(digest_of(plain)) == (key, True)
    assert await store.keys.admit(None) == (None, True)
    assert await store.keys.any_active()
    assert await store.keys.revoke(key.id)
    assert await store.keys.admit(digest_of(plain)) == (None, False)
    assert not await store.keys.any_active()
    assert [(k.id, k.revoked_at) for k in await store.keys.all()] == [(key.id, 77.0)]


async def test_revoking_twice_keeps_the_first_time_and_says_so(store, clock):
    _, key = new_key("laptop", "org_a", now=5.0)
    await store.keys.insert(key)
    await store.keys.revoke(key.id)
    clock.at = 9999.0

    assert not await store.keys.revoke(key.id)
    assert not await store.keys.revoke("key_none")
    assert (await store.keys.all())[0].revoked_at == 1000.0


async def test_keys_are_listed_oldest_first(store):
    keys = [new_key(name, "org_a", now=1.0)[1] for name in "ab"]
    for key in keys:
        await store.keys.insert(key)

    assert await store.keys.all() == keys


async def test_without_keys_none_is_active(store):
    assert not await store.keys.any_active()
    assert await store.keys.admit(digest_of("sk-sdl-guess")) == (None, False)


def test_a_key_can_be_typed_and_its_record_does_not_give_it_away():
    plain, key = new_key("laptop", "org_a", now=5.0)

    assert re.fullmatch(r"sk-sdl-[A-Za-z0-9_-]{43}", plain)
    assert key.digest == digest_of(plain)
    assert plain not in repr(key)
    assert (key.name, key.organization_id, key.created_at) == ("laptop", "org_a", 5.0)
    assert key.hint == f"{plain[:10]}...{plain[-4:]}"


def test_two_keys_are_never_the_same():
    assert new_key("a", "o", now=1.0)[0] != new_key("a", "o", now=1.0)[0]


def test_any_text_has_a_digest():
    assert digest_of("half \ud800 a pair") != digest_of("")
