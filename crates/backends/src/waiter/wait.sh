# Waits for one message on standard input, "LENGTH newline REGISTRATION newline", and becomes the runner, "$@".
# Nothing is forked and nothing but the shell is needed: the runner keeps this process's id, signals and exit code, and
# SIGINT is not ignored in it, as it would be in a shell's background child.
trap 'exit 143' TERM
trap 'exit 130' INT
refuse() {
  echo "dayfly: $1" >&2
  exit 78
}
IFS= read -r length || refuse 'the input ended before a registration came'
case $length in
'' | 0* | *[!0-9]* | ??????*) refuse 'the registration does not begin with its length' ;;
esac
[ "$length" -le 65536 ] || refuse 'the registration is too long'
IFS= read -r registration || refuse 'the registration was cut short'
[ "${#registration}" -eq "$length" ] || refuse 'the registration does not have its length'
echo 'dayfly: registration received'
# For a keeper that can't watch the console line by line: a flood of output may have washed the line away.
if [ -n "${DAYFLY_RECEIPT:-}" ]; then
  : >"$DAYFLY_RECEIPT"
  unset DAYFLY_RECEIPT
fi
trap - TERM INT
ACTIONS_RUNNER_INPUT_JITCONFIG=$registration
export ACTIONS_RUNNER_INPUT_JITCONFIG
exec "$@" </dev/null
