#!/usr/bin/env bash
# with_docker.sh DIRECTORY COMMAND [ARGUMENT...]
#
# Starts a real dockerd of its own that keeps images in DIRECTORY, runs COMMAND with DOCKER_HOST set, takes the daemon
# and all containers down and exits with COMMAND's status. Nothing runs on, even when this script is killed by SIGKILL.
# Only `--network=host` works in builds and containers: no bridge or firewall of this machine is touched.
#
# Exit status: COMMAND's; 64: wrong use; 69: dockerd is missing or this is not root; 125: it did not start.
# Needs: apt-get install --no-install-recommends docker.io iptables
set -euo pipefail

(($# > 1)) || { echo "usage: $0 DIRECTORY COMMAND..." >&2; exit 64; }
command -v dockerd >/dev/null || { echo "$0: dockerd is not installed (package docker.io)" >&2; exit 69; }
((EUID == 0)) || { echo "$0: must run as root" >&2; exit 69; }
# Mounts made below are seen by this script and its children alone.
[[ ${IN_OWN_MOUNTS-} == "$$" ]] || IN_OWN_MOUNTS=$$ exec unshare --mount --propagation private -- "$0" "$@"

images=$1
shift
name=reviver-docker-$$
group=/sys/fs/cgroup/$name
work=$(mktemp -d /tmp/"$name".XXXXXX)
mount -t cgroup2 none /sys/fs/cgroup    # also where the machine still mixes both versions of cgroups
mkdir -p "$images" "$group"/{daemon,command}

# Takes down all that is made below, and nothing else, once the pipe to it closes: that is, once this script is gone.
take_down() {
  set +e
  trap '' INT TERM HUP
  cat
  for _ in {1..100}; do
    [[ ! -e $group ]] || echo 1 >"$group/cgroup.kill"    # COMMAND, dockerd, containerd and every container
    find "$group" -depth -type d -exec rmdir {} +
    [[ -d $group ]] || break
    sleep 0.1
  done
  umount -R -l "$work"
  rm -rf "$work"
  find /opt/containerd -depth -type d -empty -delete    # containerd makes it, wherever it is told to live
}
mount -t tmpfs tmpfs "$work"
exec 9> >(take_down >/dev/null 2>&1)
guard=$!
daemon=
# shellcheck disable=SC2317  # called by the trap
stop() {
  trap '' EXIT INT TERM HUP
  if [[ $daemon ]]; then
    kill -TERM "$daemon" || :
    for _ in {1..100}; do kill -0 "$daemon" || break; sleep 0.1; done
  fi
  exec 9>&-
  wait "$guard" || :
} 2>/dev/null
trap stop EXIT
trap 'exit 143' INT TERM HUP

(
  echo "$BASHPID" >"$group/daemon/cgroup.procs"
  exec dockerd --data-root "$images" --exec-root "$work/exec" --host "unix://$work/docker.sock" --pidfile "$work/pid" \
    --cgroup-parent "/$name/containers" --bridge=none --iptables=false --ip6tables=false --ip-forward=false
) </dev/null >"$work/log" 2>&1 9>&- &
daemon=$!
export DOCKER_HOST=unix://$work/docker.sock
for _ in {1..300}; do
  ! docker info >/dev/null 2>&1 || break
  kill -0 "$daemon" 2>/dev/null || break
  sleep 0.1
done
docker info >/dev/null 2>&1 || { echo "$0: dockerd did not start" >&2; cat "$work/log" >&2; exit 125; }

# In the background: a trap runs at once during wait, but only after a foreground command.
(echo "$BASHPID" >"$group/command/cgroup.procs"; exec "$@") <&0 9>&- &
status=0
wait $! || status=$?
exit "$status"
