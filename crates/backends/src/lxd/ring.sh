# Tells the waiter that its registration lies there, and waits until it has taken it.
run=/run/dayfly
[ -p "$run/bell" ] || exit 76
exec 3<>"$run/bell"
echo >&3
looks=0
until [ -e "$run/received" ]; do
  [ ! -e /var/lib/dayfly/exit ] || exit 78
  # Half a minute and more.
  [ "$looks" -lt 700 ] || exit 75
  looks=$((looks + 1))
  sleep 0.02 2>/dev/null || sleep 1
done
: >"$run/heard"
