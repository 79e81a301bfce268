# The keeper of an instance: leads its session, starts the waiter, writes the exit code down.
# $1: the instance's directory; $2: files that take processes into control groups, a line each; $3: the waiter's
# script; the rest: the runner's program and arguments.
directory=$1 groups=$2 waiter=$3
shift 3
IFS='
'
for procs in $groups; do
  echo $$ >"$procs" || exit 77
done
unset IFS
# The first keeper alone makes this file: a second one, of a create that was repeated after a crash, ends here.
set -C
read -r stat <"/proc/$$/stat" || exit 77
echo "$stat" >"$directory/start" || exit 77
set +C
cd "$directory/home" || exit 77
# In the foreground: a background child of a shell ignores SIGINT, and so would every process of the job.
DAYFLY_RECEIPT=$directory/received /bin/sh -c "$waiter" dayfly "$@" <"$directory/input"
echo $? >"$directory/exit"
