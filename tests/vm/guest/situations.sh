# The situations a server can be started in, each with what its control groups must be.
#
#   situations.sh [NAME…]     all of them unless named; the exit code is how many failed
python=/opt/server/bin/python
user=box-keeper
failed=0

# What a login as the user has: a service manager of its own, and its runtime folder.
as_user() {
    runuser -u $user -- env HOME=/home/$user XDG_RUNTIME_DIR=/run/user/1000 "$@"
}

checks() { # KIND COMMAND…: the doctor and the checks, started by COMMAND
    kind=$1
    shift
    "$@" $python -m sanderling doctor --env /opt/env || return 1
    "$@" $python -m tests.vm.guest.checks "$kind" $only
}

try() { # NAME KIND COMMAND…
    case " $wanted " in *" $1 "*) ;; *) return ;; esac
    name=$1
    shift
    echo "=== $name: control groups $1"
    if ! checks "$@"; then
        failed=$((failed + 1))
        echo "=== $name FAILED"
    fi
}

wanted=${*:-root service user-scope user-service plain}
only=${CHECK:-}
export PYTHONPATH=/opt/sanderling PYTHONDONTWRITEBYTECODE=1
settled() { [ "$(systemctl is-active user@1000.service)" = active ]; }
until settled; do sleep 1; done
in_service="systemd-run --quiet --pipe --wait --collect --working-directory=/opt/sanderling -E PYTHONPATH -E PYTHONDONTWRITEBYTECODE -p Delegate=yes"

try root v2 env
try service delegated $in_service
try user-scope delegated as_user systemd-run --quiet --user --scope -p Delegate=yes
try user-service delegated $in_service --uid=$user
try plain none as_user env
exit $failed
