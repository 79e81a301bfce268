# The keeper of an instance: waits until it has booted, has its waiter take one registration and become the runner,
# writes the exit code down and ends the instance.
# $1: the waiter's script; $2: the runner's user, or nothing for root; $3: the pool's setup, or nothing; $4: what puts the
# runner program in, or nothing where the image has it; the rest: the runner's program and arguments.
waiter=$1 user=$2 setup=$3 provision=$4
shift 4
state=/var/lib/dayfly run=/run/dayfly
umask 077

# Says on the console what the runner said, its beginning and its end, and how it ended. The server keeps the last 128 KiB of
# it, and shows them for as long as there is the instance.
tell() {
  echo
  echo 'dayfly: the runner said'
  head -c 16000 "$state/console"
  echo
  echo 'dayfly: and at last'
  tail -c +16001 "$state/console" | tail -c 64000
  echo
  echo "dayfly: exit $1"
}

finish() {
  # Who rang would be killed with the instance before it could say that the registration was taken.
  if [ -e "$run/received" ]; then
    looks=0
    until [ -e "$run/heard" ] || [ "$looks" -ge 50 ]; do
      looks=$((looks + 1))
      sleep 0.02 2>/dev/null || sleep 1
    done
  fi
  rm -f "$run/registration"
  tail -c 400000 "$state/console" >"$state/tail" 2>/dev/null
  echo "$1" >"$state/exit.new" && mv "$state/exit.new" "$state/exit"
  # In a process of its own: it is not to become this one's terminal, and may be held up by who reads it.
  (tell "$1" >/dev/console && : >"$state/told") 2>/dev/null &
  looks=0
  until [ -e "$state/told" ] || [ "$looks" -ge 250 ]; do
    looks=$((looks + 1))
    sleep 0.02 2>/dev/null || sleep 1
  done
  # A virtual machine loses what its own kernel has not written yet. A container would have its host's kernel write all that
  # anybody there has changed, which may take minutes.
  no_sync=
  ! grep -qs container= /proc/1/environ || no_sync=-n
  # The kernel ends the instance at once; what follows is for systems without the program.
  poweroff $no_sync -f -f || halt $no_sync -f -f -p || busybox poweroff $no_sync -f
  kill -s PWR 1
  sleep 5
  kill -s USR2 1
  exit 1
}

refuse() {
  echo "dayfly: $1" >>"$state/console"
  finish 78
}

# Waits until a command succeeds, for half a minute and more.
await() {
  looks=0
  until "$@"; do
    [ "$looks" -lt 1750 ] || return 1
    looks=$((looks + 1))
    sleep 0.02 2>/dev/null || sleep 1
  done
}

has_network() {
  # Without an interface but the loop there is none to wait for.
  others=no
  while read -r interface _; do
    case $interface in
    lo:* | Inter-* | face*) ;;
    *:*) others=yes ;;
    esac
  done </proc/net/dev
  [ "$others" = yes ] || return 0
  while read -r interface destination _; do
    [ "$destination" != 00000000 ] || return 0
  done </proc/net/route
  [ -r /proc/net/ipv6_route ] || return 1
  while read -r destination length _ _ _ _ _ _ _ interface; do
    case "$destination $length $interface" in
    *" lo") ;;
    "00000000000000000000000000000000 00 "*) return 0 ;;
    esac
  done </proc/net/ipv6_route
  return 1
}

# What lies in /run before init has mounted it is never seen again.
if [ -x /lib/systemd/systemd ] || [ -x /usr/lib/systemd/systemd ]; then
  await [ -d /run/systemd/system ]
elif [ -x /sbin/openrc ]; then
  await [ -d /run/openrc ]
fi

await_network() {
  await has_network || echo 'dayfly: the instance has no way out of its network yet' >>"$state/console"
}

cd /
# What is run before the registration comes may need the network, as the runner does.
[ -z "$setup$provision" ] || await_network
if [ -n "$setup" ]; then
  # Apart from the console, where only the runner may say what it does.
  (umask 022 && exec /bin/sh -c "$setup" setup) >"$state/setup" 2>&1 || {
    code=$?
    tail -c 40000 "$state/setup" >>"$state/console"
    refuse "the pool's setup ended with exit code $code"
  }
fi

if [ $# -eq 0 ]; then
  set -- ./run.sh
fi
places='/home/runner /home/runner/actions-runner /actions-runner /opt/actions-runner /opt/runner'
if [ -n "$provision" ]; then
  places=/opt/dayfly/runner
  (umask 022 && exec /bin/sh -c "$provision" provision "$state/program.tar.gz" "$places") >"$state/provision" 2>&1 || {
    # The last of it says what is wrong.
    tail -n 8 "$state/provision" >>"$state/console"
    refuse 'the runner program could not be put into the instance'
  }
  case $user in
  '' | root | 0) ;;
  *) chown -R "$user" "$places" || refuse "the runner program can't be given to $user" ;;
  esac
fi
for directory in $places; do
  if [ -x "$directory/run.sh" ]; then
    cd "$directory" || refuse "$directory can't be entered"
    break
  fi
done
command -v "$1" >/dev/null ||
  refuse "the image has no $1 in $(pwd): with \`runner_version: latest\` in the pool dayfly puts GitHub's runner program in"
case $user in
'' | root | 0)
  # GitHub's runner refuses root unless it is told that this is meant: here root owns the instance and no more.
  export RUNNER_ALLOW_RUNASROOT="${RUNNER_ALLOW_RUNASROOT:-1}"
  ;;
*)
  # A number stands for the name that has it.
  while IFS=: read -r name _ id _; do
    [ "$id" != "$user" ] || user=$name
  done </etc/passwd
  set -- su -s /bin/sh -c 'exec "$0" "$@"' -- "$user" "$@"
  ;;
esac

# A console that shows nothing has not been written down yet: see `tell`.
(echo 'dayfly: ready' >/dev/console) 2>/dev/null

mkdir -p "$run" && mkfifo "$run/bell" || refuse "$run can't be made"
# Open at both ends, so that a ring is kept until it is heard and never waits.
exec 3<>"$run/bell" || refuse "$run/bell can't be opened"

# Only now, for the registration comes meanwhile; and before it is taken, for a warm instance has the time.
await_network

# Whether the registration lies there whole: it says its length first.
is_there() {
  [ -s "$run/registration" ] || return 1
  { read -r length && read -r text; } <"$run/registration" || return 1
  [ "${#text}" = "$length" ]
}

# One that is on its way already comes sooner than its ring, which takes the server a program to start.
looks=0
until is_there; do
  looks=$((looks + 1))
  if [ "$looks" -gt 250 ] || ! sleep 0.02 2>/dev/null; then
    read -r _ <&3
    break
  fi
done
unset text
exec 4<"$run/registration" || refuse 'no registration came'
rm -f "$run/bell"
umask 022
# In the foreground, as above.
DAYFLY_RECEIPT=$run/received /bin/sh -c "$waiter" dayfly "$@" <&4 >>"$state/console" 2>&1 3>&- 4<&-
finish $?
