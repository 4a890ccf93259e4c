"""The fixtures that let any test run the server without rights."""

import subprocess


def test_the_plain_user_is_nobody_special(plain_user, plain_server):
    code = "import os; print(os.getuid(), os.getgid(), os.getgroups(), os.environ['HOME'])"
    command = [plain_server.python, "-c", code]

    said = subprocess.check_output(command, text=True, **plain_user.options())

    assert said == f"{plain_user.uid} {plain_user.gid} [] {plain_user.home}\n"


def test_the_plain_user_can_run_the_server_and_the_guest_environment(plain_user, plain_server):
    assert plain_user.can_run(plain_server.python, "import sanderling.errors, fastapi, openai")
    assert plain_user.can_run(plain_server.guest_env.python, "import numpy")


def test_the_plain_user_builds_an_own_environment(plain_user, plain_server):
    """Where the checkout cannot be written, the default is a folder of the user's own."""
    code = "from sanderling.environments import locate; print(locate.default_env_dir())"
    command = [plain_server.python, "-c", code]

    said = subprocess.check_output(command, text=True, **plain_user.options())

    assert said == f"{plain_user.home}/.local/share/sanderling/env\n"
