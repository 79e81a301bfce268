# Says by its exit code what the runner has said: 1 that it waits for a job, 2 that it has one, 4 that it ended one, 8 that
# its version is refused. The words are those that `Sign` reads. The last word is looked for first: the runner goes on
# talking meanwhile, and what comes before a word that is there is there too.
said=/var/lib/dayfly/console
signs=0
[ -r "$said" ] || exit 0
! grep -q 'is deprecated and cannot receive messages' "$said" || signs=$((signs + 8))
! grep -q ': Job .* completed with result: ' "$said" || signs=$((signs + 4))
! grep -q ': Running job: ' "$said" || signs=$((signs + 2))
! grep -q 'Listening for Jobs' "$said" || signs=$((signs + 1))
exit "$signs"
