from __future__ import annotations

from sanderling.sandbox.gvisor import bundle
from sanderling.sandbox.wall import rlimits

CONFIG = bundle.config("/env/bin/python", {"/tmp/env": "/var/visible/0"})


def test_what_is_written_stays_below_the_place_of_the_box() -> None:
    for mount in CONFIG["mounts"]:
        if "rw" in mount.get("options", []):
            assert mount["source"].startswith(bundle.PLACE + "/")
            assert {"nosuid", "nodev"} <= set(mount["options"])
    assert CONFIG["root"] == {"path": bundle.ROOT, "readonly": True}


def test_a_covered_folder_is_shown_again_after_what_covers_it_and_read_only() -> None:
    places = [mount["destination"] for mount in CONFIG["mounts"]]
    assert places.index("/tmp/env") > places.index("/tmp")
    shown = CONFIG["mounts"][places.index("/tmp/env")]
    assert shown["source"] == f"{bundle.ROOT}/var/visible/0"
    assert "ro" in shown["options"]


def test_every_limit_of_a_forked_box_is_set_too() -> None:
    set_limits = {limit["type"]: limit["hard"] for limit in CONFIG["process"]["rlimits"]}
    assert set_limits == rlimits.LIMITS


def test_it_cannot_gain_a_capability_it_does_not_start_with() -> None:
    process = CONFIG["process"]
    assert process["noNewPrivileges"] is True
    assert process["capabilities"]["bounding"] == process["capabilities"]["effective"]
    assert not {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"} & set(
        process["capabilities"]["bounding"]
    )
