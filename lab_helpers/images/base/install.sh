#!/bin/sh
# Runs in a container of Debian: installs those of the packages $@ that are not there yet.
set -eu
missing=
for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing="$missing $package"
done
[ -z "$missing" ] || {
    apt-get update -q -o Acquire::Retries=3
    # shellcheck disable=SC2086  # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 $missing
}
