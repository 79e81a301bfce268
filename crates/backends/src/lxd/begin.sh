# Starts the keeper of an instance in a session of its own, and returns once its waiter can take a registration.
# $1: the keeper's script; the rest: its arguments, of which the third is the pool's setup and the fourth puts the runner
# program in.
state=/var/lib/dayfly archive=/.dayfly-program.tar.gz
keeper=$1
shift
mkdir -p /var/lib || exit 77
# The first one alone makes this directory: a second one, of a create that was repeated after a crash, only waits.
if mkdir -m 700 "$state" 2>/dev/null; then
  [ ! -e "$archive" ] || mv "$archive" "$state/program.tar.gz" || exit 77
  # Twice: the first leads a session, wherefore the second has to fork. A background child of this shell would ignore
  # SIGINT, and so would every process of the job.
  setsid setsid /bin/sh -c "$keeper" dayfly "$@" </dev/null >"$state/keeper" 2>&1 || exit 77
elif [ -e "$archive" ]; then
  # Brought a second time.
  rm -f "$archive"
fi
# A minute and more; three where there is something to set up. By the clock: on a busy machine a look takes long.
read -r now rest </proc/uptime
late=$((${now%.*} + 70))
[ -z "$3$4" ] || late=$((late + 110))
until [ -p /run/dayfly/bell ]; do
  [ ! -e "$state/exit" ] || exit 78
  read -r now rest </proc/uptime
  [ "${now%.*}" -lt "$late" ] || exit 75
  sleep 0.02 2>/dev/null || sleep 1
done
