# The situations a server can be started in, each with what its control groups must be.
#
#   situations.sh NAME…       the exit code is how many failed; CHECK=TEXT picks checks
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

wanted=$*
only=${CHECK:-}
export PYTHONPATH=/opt/sanderling PYTHONDONTWRITEBYTECODE=1
until [ "$(systemctl is-active user@1000.service)" = active ]; do sleep 1; done
in_service="systemd-run --quiet --pipe --wait --collect --working-directory=/opt/sanderling
    -E PYTHONPATH -E PYTHONDONTWRITEBYTECODE -E HOME=/tmp -p Delegate=yes"
# As container runtimes start a container: a hierarchy whose top is its own group.
in_container="$in_service unshare --cgroup --mount sh tests/vm/guest/contain.sh"

try root v2 env
try service delegated $in_service
try user-scope delegated as_user systemd-run --quiet --user --scope -p Delegate=yes
try user-service delegated $in_service --uid=$user
try container v2 $in_container
try plain none as_user env
try hybrid v1 env
try hybrid-plain none as_user env
for group in settings no-landlock no-memory-controller; do
    case " $wanted " in *" $group "*)
        echo "=== $group"
        $python -m tests.vm.guest.unfit $group || failed=$((failed + 1)) ;;
    esac
done
exit $failed
