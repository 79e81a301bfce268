#!/bin/sh
# Fetches GitHub's published descriptions, against which the simulated REST is checked, into the directory DEST:
#   ghec.json               OpenAPI description of GitHub Enterprise Cloud (a superset of api.github.com's routes used here)
#   webhooks-examples.json  example payloads of webhooks
# Both are MIT-licensed packages of npm's registry, pinned and checked by digest. Files that are there already are kept.
set -eu

DEST=${1:?usage: fetch-schemas.sh DEST}
mkdir -p "$DEST"

fetch() { # PACKAGE VERSION SHA512 MEMBER FILE
    [ -s "$DEST/$5" ] && return 0
    work=$(mktemp -d "$DEST/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    npm pack --silent --pack-destination "$work" "$1@$2" >/dev/null
    archive=$(ls "$work"/*.tgz)
    got=$(openssl dgst -sha512 -binary "$archive" | base64 | tr -d '\n')
    if [ "$got" != "$3" ]; then
        echo "fetch-schemas.sh: $1@$2 has the digest $got, and not $3" >&2
        exit 1
    fi
    tar -xzf "$archive" -C "$work" "package/$4"
    mv "$work/package/$4" "$DEST/$5"
    rm -rf "$work"
    trap - EXIT
}

fetch @octokit/openapi 23.0.2 \
    'pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==' \
    generated/ghec.json ghec.json
fetch @octokit/webhooks-examples 7.6.1 \
    'De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==' \
    api.github.com/index.json webhooks-examples.json
