# Writes the settings of an instance's Docker, and has one that runs already read them.
# $1: the settings; $2: where the instance's file system begins: nothing, but for tests.
root=${2:-}
umask 022
mkdir -p "$root/etc/docker" || exit 1
printf '%s\n' "$1" >"$root/etc/docker/daemon.json.dayfly" || exit 1
mv "$root/etc/docker/daemon.json.dayfly" "$root/etc/docker/daemon.json" || exit 1
# It reads its mirrors anew when it is told to. Where it does not run yet, nobody is.
if [ -s "$root/run/docker.pid" ]; then
  kill -s HUP "$(cat "$root/run/docker.pid")" 2>/dev/null || :
fi
