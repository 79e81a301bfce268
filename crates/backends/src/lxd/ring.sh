# Tells the waiter that its registration lies there, waits until it has taken it, and removes it: the server may still set
# its rights while the waiter reads it.
run=/run/dayfly
[ ! -e "$run/heard" ] || exit 76
if [ -p "$run/bell" ]; then
  echo 1<>"$run/bell"
else
  [ -d "$run" ] || exit 76
fi
looks=0
until [ -e "$run/received" ]; do
  [ ! -e /var/lib/dayfly/exit ] || exit 78
  # It may wait for its network: 45 s and more.
  [ "$looks" -lt 2250 ] || exit 75
  looks=$((looks + 1))
  sleep 0.02 2>/dev/null || sleep 1
done
rm -f "$run/registration"
: >"$run/heard"
