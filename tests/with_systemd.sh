#!/usr/bin/env bash
# with_systemd.sh [--bind DIRECTORY]... [--] COMMAND [ARGUMENT...]
#
# Boots a real systemd as PID 1 on a throw-away copy (overlay) of this machine's root, runs COMMAND in it as root, takes
# everything down and exits with COMMAND's status. What COMMAND writes is gone afterwards, except below a --bind
# DIRECTORY, which is the same inside as outside (needed for a checkout or a venv below /tmp or on its own mount).
# The network inside is loopback alone. Nothing stays behind, even when this script is killed by SIGKILL.
#
# Exit status: COMMAND's; 64: wrong use; 69: systemd-nspawn is missing or this is not root; 125: it did not boot.
# Needs: apt-get install --no-install-recommends systemd-container systemd-sysv dbus
set -euo pipefail

binds=()
args=("$@")
while [[ ${1-} == --bind ]]; do
  case $(realpath "$2") in             # the booted system empties, or writes to, its own directories
    / | /dev | /etc | /proc | /root | /run | /sys | /tmp | /usr | /var | /var/tmp)
      echo "$0: --bind $2: this directory belongs to the booted system; name one below it" >&2; exit 64 ;;
  esac
  binds+=("--bind=$2")
  shift 2
done
[[ ${1-} != -- ]] || shift
(($#)) || { echo "usage: $0 [--bind DIRECTORY]... [--] COMMAND..." >&2; exit 64; }
command -v systemd-nspawn >/dev/null || { echo "$0: systemd-nspawn is not installed (package systemd-container)" >&2; exit 69; }
((EUID == 0)) || { echo "$0: must run as root" >&2; exit 69; }
# Mounts made below are seen by this script and its children alone.
[[ ${IN_OWN_MOUNTS-} == "$$" ]] || IN_OWN_MOUNTS=$$ exec unshare --mount --propagation private -- "$0" "${args[@]}"

name=reviver-test-$$
work=$(mktemp -d /var/tmp/"$name".XXXXXX)
v1=/sys/fs/cgroup
v2=$v1/unified                       # hosts with both versions of cgroups
[[ -d $v2 ]] || v2=$v1               # hosts with version 2 alone

# Takes down all that is made below, and nothing else, once the pipe to it closes: that is, once this script is gone.
take_down() {
  set +e
  trap '' INT TERM HUP
  cat
  for _ in {1..100}; do
    [[ ! -e $v2/$name ]] || echo 1 >"$v2/$name/cgroup.kill"
    find "$v2/$name" "$v1/systemd/$name" -depth -type d -exec rmdir {} +
    [[ -d $v2/$name || -d $v1/systemd/$name ]] || break
    sleep 0.05
  done
  umount -R "$work" || umount -l "$work"
  rmdir "$work"
}
exec 9> >(take_down >/dev/null 2>&1)
guard=$!
# shellcheck disable=SC2317,SC2329  # called by the trap
finish() { trap '' EXIT INT TERM HUP; exec 9>&-; wait "$guard" || :; }
trap finish EXIT
trap 'exit 143' INT TERM HUP

mount -t tmpfs -o size=2g,mode=755 tmpfs "$work"
mkdir "$work"/{upper,scratch,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/scratch" "$work/root"
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd    # nspawn's own state: private as well
cd "$work/root"
rm -rf run etc/{machine-id,resolv.conf,fstab} var/lib/dbus/machine-id usr/sbin/policy-rc.d
mkdir -p run var/log/journal etc/tmpfiles.d
ln -sfn /dev/null etc/tmpfiles.d/tmp.conf   # empties no directory, whatever is bound below it
: >etc/machine-id
for unit in {apt-daily,apt-daily-upgrade,man-db,fstrim,e2scrub_all}.timer systemd-{timesyncd,networkd,resolved}.service; do
  ln -sfn /dev/null "etc/systemd/system/$unit"
done

(
  mkdir "$v2/$name"
  echo "$BASHPID" >"$v2/$name/cgroup.procs"
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --register=no --keep-unit --private-network \
    --directory="$work/root" --machine="$name" --link-journal=no --resolv-conf=off --timezone=off --console=pipe \
    "${binds[@]}" --boot systemd.unit=basic.target systemd.show_status=no
) </dev/null >"$work/console" 2>&1 9>&- &
nspawn=$!

init=
inside() { nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup --root --wd -- "$@" 9>&-; }
booted() {
  read -r init 2>/dev/null <"$v2/$name/payload/init.scope/cgroup.procs" || return 1
  [[ -S /proc/$init/root/run/systemd/private ]] && inside systemctl -q is-active basic.target 2>/dev/null
}
for ((i = 0; i < 1200; i++)); do
  ! booted || break
  kill -0 "$nspawn" 2>/dev/null || i=1200
  sleep 0.05
done
((i < 1200)) || { echo "$0: systemd did not boot" >&2; cat "$work/console" >&2; exit 125; }

# In the background: a trap runs at once during wait, but only after a foreground command.
inside systemd-run --quiet --wait --pipe --collect --service-type=exec \
  --setenv=HOME=/root --setenv=PATH="$PATH" --setenv=LANG=C.UTF-8 -- "$@" <&0 9>&- &
status=0
wait $! || status=$?
exit "$status"
